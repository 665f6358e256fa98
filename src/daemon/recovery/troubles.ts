import type { Recoveries } from '../../assembly/types.ts'
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
