import type { TopicOptions } from './types.ts'

/** Topics of the founding texts that this version serves; the assembly defines them. */
export const FOUNDING_TOPICS: readonly TopicOptions[] = [
  /** Peer records and chain entries. Who may say what there is decided by what is signed, not by who brought it. */
  { name: 'identity:updates', access: { kind: 'open' } },
  /** Recoveries by trustees and their ends; self-proving, kept as long as a recovery may take. */
  { name: 'identity:recovery', access: { kind: 'open' }, causal: false, retainMs: 90 * 86_400_000, maxEntries: 2_000 },
  /** Trust edges and revocations; hybrid, because they outlive the machines that signed them. */
  { name: 'trust:attestations', access: { kind: 'score', min: 1_000 }, suite: 'hybrid' },
  /** Self-proving evidence (PN-10). */
  { name: 'trust:evidence', access: { kind: 'open' } },
  /** Who has which blob, and who looks for one; both in a form that only those read who know the blob (`blobs/announce.ts`). */
  { name: 'blob:announce', access: { kind: 'score', min: 1_000 }, causal: false, retainMs: 3_600_000 },
  { name: 'blob:request', access: { kind: 'score', min: 1_000 }, causal: false, retainMs: 60_000, maxEntries: 1_000 },
]

/**
 * Names that later versions give a meaning: nobody defines them, and entries under them are refused. `blob:transfer` is signed into grants (`blobs/grant.ts`), which
 * are shown point to point: as entries they would be refused everywhere.
 */
export const RESERVED_TOPICS: ReadonlySet<string> = new Set(['network:candidates', 'blob:transfer'])
