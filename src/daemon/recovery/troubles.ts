import type { Recoveries } from '../../assembly/types.ts'
import { KithError } from '../../core/errors.ts'
import type { LinkEvent } from '../../mesh/types.ts'
import type { RecoveryNews } from '../../recovery/types.ts'
import type { Trouble } from '../service.ts'

/** What the owner of an identity must know while others ask for it, wherever it looks: how far they are, until when, and how to stop them. */
export function recoveryTroubles(recovery: Recoveries | undefined): readonly Omit<Trouble, 'service'>[] {
  return (recovery?.desk.alarms ?? []).flatMap(({ id, stage, attested, threshold, dueMs }): Omit<Trouble, 'service'>[] => {
    const told = `${attested} of ${threshold} trustees`
    if (stage === 'collecting') return [pending(`Somebody asks to give this identity new keys (${id.slice(0, 8)}); ${told} have attested it so far.`)]
    if (stage === 'waiting') {
      const due = dueMs === undefined ? 'soon' : new Date(dueMs).toISOString()
      return [pending(`Somebody gives this identity new keys (${id.slice(0, 8)}): its trustees attested it, and it takes effect on ${due} unless you stop it.`)]
    }
    if (stage !== 'effective' && stage !== 'contested') return []
    const message =
      stage === 'effective'
        ? 'The trustees of this identity gave it new keys; those of this home count nowhere any more.'
        : 'Two recoveries of this identity contradict each other; peers hold it to the least until a person decides.'
    return [{ code: 'RECOVERY_OVER', message, next: 'kith recovery status' }]
  })
}

function pending(message: string): Omit<Trouble, 'service'> {
  return { code: 'RECOVERY_PENDING', message, next: 'kith recovery cancel' }
}

/** What an owner and a trustee are told the moment they have something to decide. */
export function recoveryWarning({ status, before }: RecoveryNews): LinkEvent | undefined {
  const { id, did, role, stage, attestedHere } = status
  const next = role === 'owner' ? 'kith recovery cancel' : `kith recovery attest ${id.slice(0, 8)}`
  if (role === 'owner' ? stage !== 'collecting' && stage !== 'waiting' : role !== 'trustee' || before !== undefined || stage !== 'collecting' || attestedHere)
    return undefined
  const message =
    role === 'owner'
      ? 'Somebody asks to give this identity new keys.'
      : 'Somebody asks you, as a trustee, for new keys of an identity: speak with its owner first.'
  return { type: 'warning', peer: did, error: new KithError('RECOVERY_PENDING', message, { details: { id, stage }, next }) }
}
