import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { isKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import { apiKeyHash, isApiKey } from './api-key.ts'
import { type Granted, powersOf, sum } from './granted.ts'
import { KnownKeys } from './known-keys.ts'
import { OWNER } from './owner.ts'
import { apiKeyProof, type Proof } from './proof.ts'
import type { ReplayCache } from './replay-cache.ts'
import { type AuthorizedKey, type Grant, type IdentitySource, isKeyOf } from './sources.ts'
import { certificateEnd, parseCertificate, whyNotValid } from './ssh-certificate.ts'
import { fingerprint } from './ssh-wire.ts'
import { parseToken, TOKEN_WINDOW_S, tokenHolds } from './token.ts'
import { Tracked, type TrackedCaller } from './tracked.ts'
import type { Caller, IdentityProvider, Presentation } from './types.ts'

export interface IdentityProviderParts {
  /** Asked in this order. */
  readonly sources: readonly IdentitySource[]
  /** Classes whose grants an identity has: its own and the lower ones. */
  readonly classesOf?: (did: Did) => readonly string[]
  readonly replay: ReplayCache
  readonly clock: Clock
  readonly logger: Logger
}

/** A proof, and the way to look again whether it still holds. */
interface Proved {
  readonly proof: Proof
  readonly again: () => Promise<Proof | undefined>
}

/** Why somebody is nobody here; for the owner's log, never for the other side. */
class Refused extends Error {}

export interface OpenIdentityProvider extends IdentityProvider {
  /** Of an API key, where every source answers at once and none names an identity. */
  resolveNow(presentation: Presentation): Caller | undefined
  /**
   * Looks at everything that came in with a key, certificate or API key, or by a link with something granted to it: whether it would still come in, with no less.
   * @param options disconnect: what would not is told so by `Caller.revoked`. @returns how many would not, each counted once without `disconnect`.
   */
  recheck(options: { readonly disconnect: boolean }): Promise<number>
  /** Ends the watch over what expires. */
  close(): void
}

/**
 * # Who is it, and what may they?
 *
 * ```text
 * presentation -- proved? --> principal -- grants of all sources --> Caller { id, did, scopes, resources }
 *   link                      did:icn:...      by DID and class
 *   SSH key, certificate      ssh:SHA256:...   by key, by certificate name, and as the identity that the owner says it is
 *   token                     ssh:SHA256:...   the same
 *   API key                   key:NAME         its own, and by name
 *   control socket            local
 * ```
 *
 * A key that logs in signs no certificates and the other way round. Whatever is not known, revoked, expired, from elsewhere or unreadable is `undefined`, with the
 * reason in the log.
 */
export function createIdentityProvider(parts: IdentityProviderParts): OpenIdentityProvider {
  return new Provider(parts)
}

class Provider implements OpenIdentityProvider {
  readonly #parts: IdentityProviderParts
  readonly #tracked: Tracked
  /** Apart from credentials: however many identities come by links, nobody at another door is forgotten for them. */
  readonly #links: Tracked
  readonly #keys: KnownKeys
  /** How often everything was looked at again. */
  #rechecks = 0

  constructor(parts: IdentityProviderParts) {
    this.#parts = parts
    this.#keys = new KnownKeys(parts.sources, parts.clock)
    this.#tracked = new Tracked(parts.clock)
    this.#links = new Tracked(parts.clock)
  }

  async resolve(presentation: Presentation): Promise<Caller | undefined> {
    if (presentation.kind === 'local') return OWNER
    if (presentation.kind === 'link') return await this.#linked(presentation.did)
    try {
      let looked = this.#rechecks
      const { proof, again } = await this.#prove(presentation)
      let caller = await this.#caller(proof, again)
      // What was half-way in while the owner had everything looked at was not among what was looked at.
      while (looked !== this.#rechecks) {
        looked = this.#rechecks
        const now = await again()
        if (now === undefined) throw new Refused('it was taken back while it came in')
        caller = await this.#caller(now, again)
      }
      return caller
    } catch (error) {
      const reason = error instanceof Refused ? error.message : isKithError(error, 'SSH_FORMAT') ? String(error.details?.reason) : undefined
      if (reason === undefined) throw error
      this.#parts.logger.info('access refused', { kind: presentation.kind, reason })
      return undefined
    }
  }

  resolveNow(presentation: Presentation): Caller | undefined {
    if (presentation.kind !== 'api-key' || !isApiKey(presentation.text)) return undefined
    const hash = apiKeyHash(presentation.text)
    const known = this.#keys.find(hash)
    if (known !== undefined && this.#tracked.again(known.credential, known.caller.revoked)) return known.caller
    const answers = this.#keys.ask(hash)
    if (answers === undefined) return undefined
    const { record, grants } = answers
    const proof = apiKeyProof(hash, record)
    const caller = this.#enter(proof, { ...sum([record.grant, ...grants.filter((grant) => grant !== undefined)]), did: undefined }, () =>
      unlessRefused(() => this.#apiKey(hash)),
    )
    this.#keys.remember(hash, { ...answers, caller, credential: proof.credential })
    return caller
  }

  async recheck(options: { readonly disconnect: boolean }): Promise<number> {
    this.#rechecks++
    return (await this.#tracked.recheck(options)) + (await this.#links.recheck(options))
  }

  close(): void {
    this.#tracked.close()
    this.#links.close()
  }

  async #linked(did: Did): Promise<Caller> {
    const granted = async (): Promise<Granted> => ({ ...sum(await this.#grants([did, ...this.#classes(did)])), did: undefined })
    const now = await granted()
    const { scopes, resources } = now
    const caller: Caller = { id: did, did, via: 'link', scopes, resources }
    const powers = powersOf(now)
    if (powers.size === 0) return caller
    const still = async (): Promise<ReadonlySet<string>> => powersOf(await granted())
    return { ...caller, revoked: this.#links.add(did, { powers, expiresMs: undefined, still }) }
  }

  #classes(did: Did): readonly string[] {
    return this.#parts.classesOf?.(did) ?? []
  }

  async #caller(proof: Proof, again: Proved['again']): Promise<Caller> {
    return this.#enter(proof, await this.#granted(proof), again)
  }

  #enter(proof: Proof, granted: Granted, again: Proved['again']): TrackedCaller {
    const still = async (): Promise<ReadonlySet<string> | undefined> => {
      const now = await again()
      return now === undefined ? undefined : powersOf(await this.#granted(now))
    }
    const revoked = this.#tracked.add(proof.credential, { powers: powersOf(granted), expiresMs: proof.expiresMs, still })
    return {
      id: proof.id,
      via: proof.via,
      scopes: granted.scopes,
      resources: granted.resources,
      revoked,
      ...(granted.did === undefined ? {} : { did: granted.did }),
      ...(proof.principals === undefined ? {} : { principals: proof.principals }),
      ...(proof.noForwarding === undefined ? {} : { noForwarding: true }),
    }
  }

  /** What the credential, its name, and the identity that the owner says it is have together. */
  async #granted({ id, principals = [], grant }: Proof): Promise<Granted> {
    const own = await this.#grants([id, ...principals.map((name) => `ssh-user:${name}`)])
    const direct = grant === undefined ? own : [grant, ...own]
    const did = direct.find((one) => one.did !== undefined)?.did
    const byIdentity = did === undefined ? [] : await this.#grants([did, ...this.#classes(did)])
    return { ...sum([...direct, ...byIdentity]), did }
  }

  async #grants(principals: readonly string[]): Promise<readonly Grant[]> {
    const all = await Promise.all(this.#parts.sources.flatMap((source) => principals.map((principal) => source.grant?.(principal))))
    return all.filter((grant) => grant !== undefined)
  }

  /** @throws Refused, KithError `SSH_FORMAT`, `TOKEN_BUSY`, `STORE_FAILED`. */
  async #prove(presentation: Exclude<Presentation, { kind: 'local' | 'link' }>): Promise<Proved> {
    switch (presentation.kind) {
      case 'ssh-key': {
        const look = (): Promise<Proof> => this.#sshKey(fingerprint(presentation.key), presentation.address)
        return { proof: await look(), again: () => unlessRefused(look) }
      }
      case 'ssh-certificate': {
        const look = (): Promise<Proof> => this.#sshCertificate(presentation)
        return { proof: await look(), again: () => unlessRefused(look) }
      }
      case 'token':
        return await this.#token(presentation)
      case 'api-key': {
        if (!isApiKey(presentation.text)) throw new Refused('it is not written as an API key is')
        const hash = apiKeyHash(presentation.text)
        const look = (): Promise<Proof> => this.#apiKey(hash)
        return { proof: await look(), again: () => unlessRefused(look) }
      }
    }
  }

  async #sshKey(id: `SHA256:${string}`, address: string): Promise<Proof> {
    const found = await this.#first((source) => source.key?.(id))
    if (found === undefined || !isKeyOf(found, id)) throw new Refused('no such key is known')
    await this.#mustNotSign(id)
    await this.#mustCount(found, address)
    return {
      credential: `key ${id}`,
      id: `ssh:${id}`,
      via: 'ssh-key',
      ...(found.portForwarding ? {} : { noForwarding: true }),
      ...(found.expiresMs === undefined ? {} : { expiresMs: found.expiresMs }),
    }
  }

  /** One that signs certificates by any source comes in by none: whoever has it could name anybody. */
  async #mustNotSign(id: string): Promise<void> {
    if ((await this.#first((source) => source.authority?.(id))) !== undefined) throw new Refused('the key signs certificates and does not log in')
  }

  /** A line's own limits, whether it is a key or an authority. */
  async #mustCount({ key, from, expiresMs }: AuthorizedKey, address: string | undefined): Promise<void> {
    if (expiresMs !== undefined && this.#parts.clock.now() >= expiresMs) throw new Refused('the line of this key has expired')
    if (from !== undefined && (address === undefined || !from.matches(address))) throw new Refused('the line of this key is not for this address')
    for (const source of this.#parts.sources) if ((await source.revokesKey?.(key)) === true) throw new Refused('the key is revoked')
  }

  async #sshCertificate({ certificate: bytes, user, address }: Presentation & { readonly kind: 'ssh-certificate' }): Promise<Proof> {
    const certificate = parseCertificate(bytes)
    const id = fingerprint(certificate.authority)
    const authority = await this.#first((source) => source.authority?.(id))
    if (authority === undefined || !isKeyOf(authority, id)) throw new Refused('whoever signed the certificate is not known')
    await this.#mustCount(authority, address)
    const reason = whyNotValid(certificate, { nowMs: this.#parts.clock.now(), address })
    if (reason !== undefined) throw new Refused(reason)
    for (const source of this.#parts.sources) if ((await source.revokesCertificate?.(certificate)) === true) throw new Refused('the certificate is revoked')
    const wanted = authority.principals ?? [user]
    const principals = certificate.principals.filter((name) => wanted.includes(name))
    if (principals.length === 0) throw new Refused('the certificate is for other names')
    const ends = [certificateEnd(certificate), authority.expiresMs].filter((end) => end !== undefined)
    return {
      credential: `certificate ${toHex(sha256(bytes))} ${user} ${address}`,
      id: `ssh:${fingerprint(certificate.key)}`,
      via: 'ssh-certificate',
      principals,
      ...(authority.portForwarding && certificate.extensions.has('permit-port-forwarding') ? {} : { noForwarding: true }),
      ...(ends.length === 0 ? {} : { expiresMs: Math.min(...ends) }),
    }
  }

  async #token({ text, audience }: Presentation & { readonly kind: 'token' }): Promise<Proved> {
    const token = parseToken(text)
    if (token === undefined) throw new Refused('it is not a token')
    if (token.audience !== audience)
      throw new Refused(token.version === 1 ? 'a token without an audience counts on this machine only' : 'the token is for another door')
    const keyId = toHex(token.keyId)
    const look = async (): Promise<{ readonly key: AuthorizedKey; readonly proof: Proof }> => {
      const key = await this.#first((source) => source.tokenKey?.(keyId))
      if (key === undefined) throw new Refused('no key of this token is known')
      const id = fingerprint(key.key)
      await this.#mustNotSign(id)
      // No address stands behind a token, so that a key which is for some addresses only has none.
      await this.#mustCount(key, undefined)
      return { key, proof: { credential: `token ${id}`, id: `ssh:${id}`, via: 'token', ...(key.expiresMs === undefined ? {} : { expiresMs: key.expiresMs }) } }
    }
    const { key, proof } = await look()
    if (!tokenHolds(token, key.key, this.#parts.clock.now())) throw new Refused('the token is not of now, or not of its key')
    const until = (Number(token.seconds) + TOKEN_WINDOW_S + 1) * 1_000
    if (!(await this.#parts.replay.first(token.signature, until))) throw new Refused('the token was used before')
    return { proof, again: () => unlessRefused(async () => (await look()).proof) }
  }

  async #apiKey(hash: string): Promise<Proof> {
    const record = await this.#first((source) => source.apiKey?.(hash))
    if (record === undefined) throw new Refused('no such API key is known')
    if (record.expiresMs !== undefined && this.#parts.clock.now() >= record.expiresMs) throw new Refused('the API key has expired')
    return apiKeyProof(hash, record)
  }

  async #first<T>(ask: (source: IdentitySource) => T | undefined | Promise<T | undefined>): Promise<T | undefined> {
    for (const source of this.#parts.sources) {
      const found = await ask(source)
      if (found !== undefined) return found
    }
    return undefined
  }
}

async function unlessRefused(look: () => Promise<Proof>): Promise<Proof | undefined> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof Refused || isKithError(error, 'SSH_FORMAT')) return undefined
    throw error
  }
}
