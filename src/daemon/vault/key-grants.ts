import type { Clock } from '../../core/clock.ts'
import type { DerivedKey } from '../../vault/key-cache.ts'
import type { Vault } from '../../vault/vault.ts'

/** What a key handed out goes through: itself once, and then why it may not be used any more. */
export type KeyEvent =
  | { readonly key: string; readonly type: string; readonly path: string; readonly expires_at: string }
  | { readonly ended: 'expired' | 'locked' | 'revoked' }

export interface KeyGrantParts {
  readonly key: DerivedKey
  /** The path as the caller wrote it. */
  readonly text: string
  readonly ms: number
  readonly clock: Clock
  readonly vault: Pick<Vault, 'onLock'>
  /** Whether the caller may still have it. */
  readonly may: () => boolean
  readonly onChange: (listener: () => void) => (() => void) | undefined
  readonly revoked?: AbortSignal
  /** The caller has gone. */
  readonly signal: AbortSignal
}

/**
 * A private key for a while. Whoever keeps it has to let it go at the second event, and when the stream breaks: nobody can take back what was sent, and nobody who
 * keeps to that uses it a moment longer than its owner wants.
 */
export async function* keyGrants({ key, text, ms, clock, vault, may, onChange, revoked, signal }: KeyGrantParts): AsyncGenerator<KeyEvent> {
  const { promise, resolve } = Promise.withResolvers<'expired' | 'locked' | 'revoked' | undefined>()
  const timer = clock.after(ms, () => resolve('expired'))
  const stopLock = vault.onLock(() => resolve('locked'))
  const stopRules = onChange(() => {
    if (!may()) resolve('revoked')
  })
  const onRevoked = (): void => resolve('revoked')
  const onGone = (): void => resolve(undefined)
  revoked?.addEventListener('abort', onRevoked)
  signal.addEventListener('abort', onGone)
  if (signal.aborted) onGone()
  if (revoked?.aborted === true) onRevoked()
  try {
    const bytes = key.privateKey.use((raw) => raw.toString('base64'))
    yield { key: bytes, type: key.type, path: text, expires_at: new Date(clock.now() + ms).toISOString() }
    const ended = await promise
    if (ended !== undefined) yield { ended }
  } finally {
    timer.cancel()
    stopLock()
    stopRules?.()
    revoked?.removeEventListener('abort', onRevoked)
    signal.removeEventListener('abort', onGone)
  }
}
