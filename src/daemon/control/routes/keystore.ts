import { z } from 'zod'
import { learnOwnChain } from '../../identity/learn-chain.ts'
import { changeRotationRight, ROTATION_ACTS } from '../../identity/rotation-right.ts'
import { upgradePostQuantum } from '../../identity/upgrade-pq.ts'
import { type RoutesOf, withSecret } from '../route.ts'
import type { KeystoreApi } from './keystore-api.ts'

export const keystoreRoutes: RoutesOf<KeystoreApi> = {
  'POST /v1/identity/upgrade-pq': withSecret(z.object({}), async ({ identity, assembly }, _input, secret) => {
    const done = await identity.withIdentity(secret, async (opened) => {
      const rotations = await upgradePostQuantum(opened)
      const right = await changeRotationRight({ ...opened, act: 'status' })
      return { result: { ...right, rotations }, ...(rotations === 0 ? {} : { changed: 'binding' }) }
    })
    if (done.rotations > 0) {
      await assembly.audit.append({ actor: 'owner', action: 'identity.upgrade-pq', subject: done.did, reason: '', details: { index: done.chain.index } })
    }
    return done
  }),
  'POST /v1/identity/rotation': withSecret(
    z.object({ act: z.enum(ROTATION_ACTS), from: z.string().max(8_192).optional() }),
    async ({ identity, assembly, mesh, clock, random, logger }, { act, from = '' }, secret, { signal }) => {
      const urls = from.split(',').filter((url) => url !== '')
      const shown =
        act === 'take' ? await learnOwnChain({ did: identity.device.did, have: identity.device.chain, urls, mesh, clock, random, logger, signal }) : undefined
      const right = await identity.withIdentity(secret, async (opened) => {
        const result = await changeRotationRight({ ...opened, act, ...(shown === undefined ? {} : { shown }) })
        return { result, ...(act === 'take' ? { changed: 'binding' } : {}) }
      })
      if (act !== 'status') {
        await assembly.audit.append({
          actor: 'owner',
          action: `identity.rotation.${act}`,
          subject: right.did,
          reason: '',
          details: { index: right.chain.index },
        })
      }
      return right
    },
  ),
}
