import type { Secret } from '../../../core/secret.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { readPinFile } from '../../../identity/hardware/pin.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'

/** Lends the running node the PIN that a person gives here, when it has none of its own. */
export async function withPin<T>(context: CommandContext, options: Options, client: ControlClient, needed: boolean, work: () => Promise<T>): Promise<T> {
  const own = options.text('pin-file') === undefined && (!needed || (await client.call('GET /v1/identity/hardware', {})).pin)
  const pin = own ? undefined : await personalPin(context, options)
  if (pin === undefined) return await work()
  try {
    await client.callWithSecret('POST /v1/identity/hardware/pin', {}, pin)
    return await work()
  } finally {
    pin.wipe()
    await client.callWithSecret('POST /v1/identity/hardware/pin', {}, undefined)
  }
}

/** From `--pin-file`, or a person at the terminal. The caller wipes it. */
export async function personalPin(context: CommandContext, options: Options): Promise<Secret | undefined> {
  const file = options.text('pin-file')
  if (file !== undefined) return readPinFile(file)
  return context.terminal.interactive ? await context.terminal.askSecret('PIN of the token: ', context.signal) : undefined
}
