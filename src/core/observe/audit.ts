/** One line of the audit log: who did what to whom, and why. Never a secret, never what a name resolved to. */
export interface AuditEvent {
  /** A DID, `owner` for the person at this machine, or `node` for the node itself. */
  readonly actor: string
  /** `ban`, `unban`, `pardon`, `quarantine`, `release`, `policy.allow`, `trust.set`, ... */
  readonly action: string
  readonly subject: string
  readonly reason: string
  readonly details?: Readonly<Record<string, string | number | boolean>>
}

export interface AuditRow extends AuditEvent {
  readonly seq: number
  readonly timeMs: number
  /** Hash of this row; covers the hash of the one before. Hex. */
  readonly hash: string
}

/** Append-only, hash-chained, durable before the call resolves. */
export interface Audit {
  append(event: AuditEvent): Promise<AuditRow>
  /** Newest first. */
  list(options?: { readonly limit?: number; readonly before?: number }): Promise<readonly AuditRow[]>
  /** Recomputes the whole chain. `brokenAt`: the first row that does not follow. */
  verify(): Promise<{ readonly rows: number; readonly head: string; readonly brokenAt: number | undefined }>
}
