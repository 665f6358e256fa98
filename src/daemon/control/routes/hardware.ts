import { z } from 'zod'
import { KithError } from '../../../core/errors.ts'
import { loadTokenNotes } from '../../../identity/hardware/notes.ts'
import type { Tokens } from '../../../identity/hardware/tokens.ts'
import type { NodeContext } from '../../context.ts'
import { addressOf, attestIdentity, commitToToken } from '../../identity/hardware.ts'
import { ROTATION_REASONS } from '../../identity/rotate.ts'
import { json, type RoutesOf, withSecret } from '../route.ts'
import type { HardwareApi } from './hardware-api.ts'

const MAX_TEXT = 4_096

export const hardwareRoutes: RoutesOf<HardwareApi> = {
  'GET /v1/identity/hardware': json(z.object({}), async (context) => {
    const notes = await loadTokenNotes(context.home.paths.root)
    const index = context.identity.device.chain.index
    return { keys: notes.map((note) => ({ ...note, current: note.generation === index })), pin: tokensOf(context).hasPin }
  }),
  'POST /v1/identity/hardware/pin': withSecret(z.object({}), (context, _input, secret) => {
    const tokens = tokensOf(context)
    if (secret === undefined) tokens.forgetPin()
    else tokens.givePin(secret)
    return { pin: tokens.hasPin }
  }),
  'POST /v1/identity/hardware/attest': withSecret(z.object({}), async ({ identity }, _input, secret) => {
    return await identity.withIdentity(secret, async (opened) => ({ result: attestIdentity(opened.identity) }))
  }),
  'POST /v1/identity/hardware/commit': withSecret(
    z.object({ pkcs11: z.string().max(MAX_TEXT), module: z.string().max(MAX_TEXT).optional(), reason: z.enum(ROTATION_REASONS) }),
    async (context, { pkcs11, module, reason }, secret) => {
      const { identity, assembly } = context
      const { key, made } = await identity.withIdentity(secret, async (opened) => {
        const found = tokensOf(context).ensure(addressOf(pkcs11, module))
        await commitToToken(opened, found.key, reason)
        return { result: found, changed: 'binding' }
      })
      const { did, chain } = identity.device
      await assembly.audit.append({
        actor: 'owner',
        action: 'identity.hardware.commit',
        subject: did,
        reason: '',
        details: { index: chain.index, uri: key.uri },
      })
      const { summary } = identity
      if (summary === undefined) throw new KithError('IDENTITY_LOCKED')
      return { ...summary, uri: key.uri, made }
    },
  ),
}

function tokensOf({ home }: NodeContext): Tokens {
  if (home.tokens === undefined) throw new KithError('TOKEN_UNAVAILABLE', 'this home opens no tokens', { next: 'kith doctor' })
  return home.tokens
}
