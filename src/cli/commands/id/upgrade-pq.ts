import { changeRotationRight } from '../../../daemon/identity/rotation-right.ts'
import { upgradePostQuantum } from '../../../daemon/identity/upgrade-pq.ts'
import type { CommandHandler } from '../../spec.ts'
import { byNodeOrFiles } from './by-node.ts'

export const run: CommandHandler = async (context, { options }) => {
  const done = await byNodeOrFiles(context, options, {
    node: async (client, passphrase) => await client.callWithSecret('POST /v1/identity/upgrade-pq', {}, passphrase),
    files: async (opened) => {
      const rotations = await upgradePostQuantum(opened)
      return { ...(await changeRotationRight({ ...opened, act: 'status' })), rotations }
    },
  })
  context.output.result(done, (palette) =>
    done.rotations === 0
      ? palette.quiet('this identity has a post-quantum key already')
      : [`${palette.good('upgraded')}  the identity is at entry ${done.chain.index} of its chain; the DID stays ${done.did}`],
  )
  return undefined
}
