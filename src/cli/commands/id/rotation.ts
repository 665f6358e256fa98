import { KithError } from '../../../core/errors.ts'
import { fetchOwnChain } from '../../../daemon/identity/own-chain.ts'
import { changeRotationRight, type RotationAct, type RotationRight } from '../../../daemon/identity/rotation-right.ts'
import type { OpenedIdentity } from '../../../daemon/identity/service.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import type { CommandHandler } from '../../spec.ts'
import { byNodeOrFiles } from './by-node.ts'

export const status: CommandHandler = (context, { options }) => show(context, options, 'status')
export const take: CommandHandler = (context, { options }) => show(context, options, 'take')
export const give: CommandHandler = (context, { options }) => show(context, options, 'give')

async function show(context: CommandContext, options: Options, act: RotationAct): Promise<undefined> {
  const right = await change(context, options, act)
  context.output.result(right, (palette) => [
    right.may_rotate
      ? `${palette.good('here')}  this machine changes the keys of ${right.did}`
      : `${palette.quiet('elsewhere')}  another machine changes the keys of ${right.did}`,
    palette.quiet(`history: entry ${right.chain.index}, ${right.chain.head.slice(0, 16)}`),
  ])
  if (!right.may_rotate && act === 'status') context.output.note(`to change them here:\n  ${context.command('kith id rotation take')}`)
  if (act === 'give')
    context.output.note('Until a machine takes it, nobody can change these keys; on that machine, where it is linked or with --from:\n  kith id rotation take')
  return undefined
}

async function change(context: CommandContext, options: Options, act: RotationAct): Promise<RotationRight> {
  const from = options.list('from')
  return await byNodeOrFiles(context, options, {
    node: async (client, passphrase) => {
      return await client.callWithSecret('POST /v1/identity/rotation', { act, ...(from.length === 0 ? {} : { from: from.join(',') }) }, passphrase)
    },
    files: async (opened) => changeRotationRight({ ...opened, act, ...(act === 'take' ? { shown: await shown(context, opened, from) } : {}) }),
  })
}

async function shown(context: CommandContext, { identity, options }: OpenedIdentity, urls: readonly string[]) {
  const { clock, random } = options
  if (urls.length === 0 || clock === undefined) {
    throw new KithError('PEER_UNREACHABLE', 'Nobody was named who could show what became of this identity, and no node runs here that has links.', {
      next: 'kith id rotation take --from tcp://HOST:PORT (where a machine of this identity runs, or start this node first)',
    })
  }
  return await fetchOwnChain({ did: identity.did, urls, clock, random, signal: context.signal })
}
