import { z } from 'zod'
import { KithError } from '../../../core/errors.ts'
import { type Did, parseDid } from '../../../identity/did.ts'
import type { RecoveryPolicy } from '../../../identity/types.ts'
import type { RecoveryStatus } from '../../../recovery/types.ts'
import { messageText, parseMessageText } from '../../../recovery/wire.ts'
import type { NodeContext } from '../../context.ts'
import { finalizeRecovery } from '../../recovery/finalize.ts'
import { initiateRecovery } from '../../recovery/initiate.ts'
import { fixPolicy, type PolicyState, policyFrom, policyState } from '../../recovery/policy.ts'
import { json, type RoutesOf, withSecret } from '../route.ts'
import type { PersonShown, RecoveryApi, RecoveryPolicyShown, RecoverySetup, RecoveryShown } from './recovery-api.ts'

const id = z.string().min(4).max(32)
const whole = z.coerce.number().int().min(0)

export const recoveryRoutes: RoutesOf<RecoveryApi> = {
  'GET /v1/recovery': json(z.object({}), async (context) => {
    const recoveries = await context.assembly.recovery.desk.list()
    return {
      setup: setupShown(context, policyState(context.identity.device.chain, context.clock.now())),
      recoveries: recoveries.map((one) => shown(context, one)),
    }
  }),
  'POST /v1/recovery/setup': withSecret(
    z.object({ trustees: z.string().min(1).max(4_000), threshold: whole, override: whole, delay_s: whole }),
    async (context, { trustees, threshold, override, delay_s }, secret) => {
      const { identity, assembly } = context
      const dids = trustees.split(',').map((name) => assembly.mesh.book.resolve(name.trim()))
      const policy = policyFrom(identity.device.did, { trustees: dids, threshold, override, delayS: delay_s })
      const state = await identity.withIdentity(secret, async (opened) => ({ result: await fixPolicy(opened, policy), changed: 'binding' }))
      const details = { threshold, trustees: dids.length, delay_s, override }
      await assembly.audit.append({ actor: 'owner', action: 'recovery.setup', subject: identity.device.did, reason: '', details })
      return setupShown(context, state)
    },
  ),
  'POST /v1/recovery/initiate': withSecret(z.object({ did: z.string().min(1).max(200) }), async (context, given, secret) => {
    const { identity, assembly } = context
    const did = parseDid(given.did)
    const status = await identity.withIdentity(secret, async (opened) => ({ result: await initiateRecovery(opened, assembly.recovery, did) }))
    await noted(context, 'recovery.initiate', status)
    return shown(context, status)
  }),
  'POST /v1/recovery/take': json(z.object({ text: z.string().min(1).max(65_536) }), async (context, { text }) => {
    const { recovery } = context.assembly
    const { desk } = recovery
    const message = parseMessageText(text)
    const { id: about } = desk.subjectOf(message)
    await recovery.take(message)
    await recovery.tell()
    return shown(context, await desk.get(about))
  }),
  'POST /v1/recovery/text': json(z.object({ id }), async ({ assembly }, input) => {
    const { desk } = assembly.recovery
    const { id: whole } = await desk.get(input.id)
    return { id: whole, texts: desk.messages(whole).map(messageText) }
  }),
  'POST /v1/recovery/show': json(z.object({ id }), async (context, input) => shown(context, await context.assembly.recovery.desk.get(input.id))),
  'POST /v1/recovery/attest': withSecret(z.object({ id, words: z.string().min(1).max(200) }), async (context, input, secret) => {
    const { assembly, identity } = context
    const { desk } = assembly.recovery
    const { id: about } = await desk.mayAttest(input.id)
    if (normal(input.words) !== desk.words(about)) {
      throw new KithError('RECOVERY_WORDS', 'These are not the words of this recovery: whoever you spoke with asked for another one.', {
        details: { id: about },
        next: `kith recovery show ${about.slice(0, 8)}`,
      })
    }
    const status = await identity.withIdentity(secret, async (opened) => ({ result: await desk.attest(about, trusteeOf(opened)) }))
    await assembly.recovery.tell()
    await noted(context, 'recovery.attest', status)
    return shown(context, status)
  }),
  'POST /v1/recovery/cancel': withSecret(z.object({ id }), async (context, input, secret) => {
    const { assembly, identity } = context
    const { desk } = assembly.recovery
    const status = await identity.withIdentity(secret, async (opened) => ({ result: await desk.cancel(input.id, trusteeOf(opened)) }))
    await assembly.recovery.tell()
    await noted(context, 'recovery.cancel', status)
    return shown(context, status)
  }),
  'POST /v1/recovery/finalize': withSecret(z.object({}), async (context, _input, secret) => await finalizeRecovery(context, secret)),
}

function trusteeOf({ identity }: { readonly identity: { readonly did: Did; readonly signer: { readonly ed25519: TrusteeKey } } }): {
  readonly did: Did
  readonly signer: TrusteeKey
} {
  return { did: identity.did, signer: identity.signer.ed25519 }
}

type TrusteeKey = Parameters<NodeContext['assembly']['recovery']['desk']['attest']>[1]['signer']

async function noted({ assembly }: NodeContext, action: string, { id: about, did, stage }: RecoveryStatus): Promise<void> {
  await assembly.audit.append({ actor: 'owner', action, subject: did, reason: '', details: { id: about, stage } })
}

function normal(words: string): string {
  return words.trim().toLowerCase().split(/\s+/).join(' ')
}

function person({ assembly, identity }: NodeContext, did: Did): PersonShown {
  return { did, name: did === identity.device.did ? identity.device.name : (assembly.mesh.book.get(did)?.name ?? null) }
}

function policyShown(context: NodeContext, policy: RecoveryPolicy): RecoveryPolicyShown {
  const { threshold, override, delayS, trustees } = policy
  return { threshold, override, delay_s: delayS, trustees: trustees.map((did) => person(context, did)) }
}

function setupShown(context: NodeContext, { inForce, later }: PolicyState): RecoverySetup {
  const shownOrNull = (policy: RecoveryPolicy | undefined): RecoveryPolicyShown | null => (policy === undefined ? null : policyShown(context, policy))
  return {
    did: context.identity.device.did,
    in_force: shownOrNull(inForce),
    later: later === undefined ? null : { policy: shownOrNull(later.policy), from: new Date(later.fromMs).toISOString() },
  }
}

function shown(context: NodeContext, status: RecoveryStatus): RecoveryShown {
  const people = (dids: readonly Did[]): readonly PersonShown[] => dids.map((did) => person(context, did))
  const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())
  const { threshold, override, delayS, trustees, role, stage } = status
  const spoken = (role === 'requester' || role === 'trustee') && (stage === 'collecting' || stage === 'waiting')
  return {
    id: status.id,
    of: person(context, status.did),
    stage,
    role,
    requested_at: new Date(status.requestedMs).toISOString(),
    policy: policyShown(context, { threshold, override, delayS, trustees }),
    attested_by: people(status.attestedBy),
    cancelled_by: people(status.cancelledBy),
    new_key: status.newKey,
    complete_at: time(status.sinceMs),
    effective_at: time(status.dueMs),
    overrides: status.overrides,
    attested_here: status.attestedHere,
    cancelled_here: status.cancelledHere,
    words: spoken ? context.assembly.recovery.desk.words(status.id) : null,
  }
}
