import { openRuntime, type Runtime } from '../../../daemon/runtime.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { asFailure } from '../../output.ts'
import type { CommandHandler } from '../../spec.ts'
import { DETACHED, detach } from './detach.ts'
import { type Ready, readyOf, tellReady } from './ready.ts'
import { serve, serveSilently } from './serve.ts'
import { offerPassphrase } from './unlock.ts'

export const run: CommandHandler = async (context, { options }) => {
  if (options.flag('detach')) return await detach(context, options)
  if (context.env[DETACHED] !== undefined) return await background(context, options)
  const runtime = await openNode(context, options)
  tellReady(context, await announce(context, runtime))
  return await serve(context, runtime)
}

/** The process behind `--detach`: tells the one that started it how it went, then stands alone. */
async function background(context: CommandContext, options: Options): Promise<number> {
  let runtime: Runtime
  try {
    runtime = await openNode(context, options)
  } catch (error) {
    const { code, message, next, details } = asFailure(error)
    process.send?.({ error: { code, message, next: next ?? null, details } })
    throw error
  }
  process.send?.(readyOf(runtime))
  return await serveSilently(context, runtime)
}

/** Opens the node of this home with what the command line says. */
export async function openNode(context: CommandContext, options: Options): Promise<Runtime> {
  const listen = options.list('listen')
  const file = options.text('passphrase-file')
  return await openRuntime({
    home: context.home,
    env: context.env,
    flags: { ...(listen.length === 0 ? {} : { listen }), ...gatewayFlag(options) },
    ...(file === undefined ? {} : { passphraseFile: file }),
  })
}

/** What was said of the gateway; nothing: the configuration decides. */
function gatewayFlag(options: Options): { readonly 'gateway.listen'?: string } {
  if (options.flag('no-gateway')) return { 'gateway.listen': '' }
  const address = options.text('gateway')
  return address === undefined ? {} : { 'gateway.listen': address }
}

/** Asks for the passphrase where that helps, then says what the node is. Whoever answers with Ctrl-C wants no node. */
export async function announce(context: CommandContext, runtime: Runtime): Promise<Ready> {
  try {
    await offerPassphrase(context, runtime)
  } catch (error) {
    await runtime.close()
    throw error
  }
  return readyOf(runtime)
}
