import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * # known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")
 *
 * ```text
 * [@cert-authority | @revoked] HOSTS TYPE BASE64 [comment]
 * HOSTS   names, addresses, [host]:port, * and ? as wildcards, ! in front negates, separated by commas
 *         or |1|BASE64 salt|BASE64 HMAC-SHA1(salt, name)
 * ```
 *
 * Lines that cannot be read are counted and do not match; a host of which another key is known is `changed`, not unknown.
 */
export type HostVerdict = 'known' | 'unknown' | 'changed' | 'revoked'

interface Line {
  readonly marker: 'authority' | 'revoked' | undefined
  readonly hosts: string
  readonly type: string
  readonly key: Buffer
}

const MAX_FILE = 4 * 1_048_576
const MAX_LINE = 32_768
const MARKERS: Readonly<Record<string, Line['marker']>> = { '@cert-authority': 'authority', '@revoked': 'revoked' }
const DEFAULT_PORT = 22

export class KnownHosts {
  readonly #lines: readonly Line[]
  /** Lines that are neither empty nor comments and could not be read. */
  readonly unreadable: number

  /** @throws RangeError for a text of more than 4 MiB. */
  constructor(text: string) {
    if (text.length > MAX_FILE) throw new RangeError('a known_hosts file has at most 4 MiB')
    const lines: Line[] = []
    let unreadable = 0
    for (const raw of text.split('\n')) {
      const line = raw.trim()
      if (line === '' || line.startsWith('#')) continue
      const read = line.length > MAX_LINE ? undefined : parseLine(line)
      if (read === undefined) unreadable += 1
      else lines.push(read)
    }
    this.#lines = lines
    this.unreadable = unreadable
  }

  /** What is known of a plain key. */
  check(host: string, port: number, key: Uint8Array): HostVerdict {
    const same = (line: Line): boolean => line.key.equals(key)
    if (this.#atAnyPort(host, port).some((line) => line.marker === 'revoked' && same(line))) return 'revoked'
    const plain = this.#of(host, port).filter(({ marker }) => marker === undefined)
    if (plain.some(same)) return 'known'
    return plain.length > 0 ? 'changed' : 'unknown'
  }

  /** Whether a key may sign certificates for this host. */
  authority(host: string, port: number, key: Uint8Array): HostVerdict {
    const here = this.#atAnyPort(host, port)
    if (here.some((line) => line.marker === 'revoked' && line.key.equals(key))) return 'revoked'
    return here.some((line) => line.marker === 'authority' && line.key.equals(key)) ? 'known' : 'unknown'
  }

  /** Types of keys known of a host, so that the server is asked for one of those. */
  types(host: string, port: number): readonly string[] {
    return [...new Set(this.#of(host, port).flatMap(({ marker, type }) => (marker === undefined ? [type] : [])))]
  }

  hasAuthority(host: string, port: number): boolean {
    return this.#atAnyPort(host, port).some(({ marker }) => marker === 'authority')
  }

  /** Authorities and revocations are written for names; a port beside them is rare, but counts too. */
  #atAnyPort(host: string, port: number): readonly Line[] {
    return port === DEFAULT_PORT ? this.#of(host, port) : [...this.#of(host, port), ...this.#of(host, DEFAULT_PORT)]
  }

  #of(host: string, port: number): readonly Line[] {
    const lower = host.toLowerCase()
    const name = port === DEFAULT_PORT ? lower : `[${lower}]:${port}`
    return this.#lines.filter(({ hosts }) => matches(hosts, name))
  }
}

function parseLine(line: string): Line | undefined {
  const words = line.split(/[ \t]+/)
  const [first = ''] = words
  const marker = MARKERS[first]
  if (first.startsWith('@')) {
    if (marker === undefined) return undefined
    words.shift()
  }
  const [hosts, type, base64] = words
  if (hosts === undefined || type === undefined || base64 === undefined) return undefined
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined
  const key = Buffer.from(base64, 'base64')
  // A key says its own type first; a line that disagrees with it is damaged.
  if (key.length < 4 + type.length || key.readUInt32BE(0) !== type.length || key.toString('latin1', 4, 4 + type.length) !== type) return undefined
  return { marker, hosts, type, key }
}

function matches(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return matchesHash(hosts, name)
  let matched = false
  for (const item of hosts.split(',')) {
    const negated = item.startsWith('!')
    if (!matchesPattern((negated ? item.slice(1) : item).toLowerCase(), name)) continue
    if (negated) return false
    matched = true
  }
  return matched
}

function matchesHash(hashed: string, name: string): boolean {
  const [, version, salt, wanted] = hashed.split('|')
  if (version !== '1' || salt === undefined || wanted === undefined) return false
  const digest = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  const expected = Buffer.from(wanted, 'base64')
  return expected.length === digest.length && timingSafeEqual(digest, expected)
}

/** Wildcards without backtracking into exponents: greedy, and one step back to the last `*`. */
function matchesPattern(pattern: string, name: string): boolean {
  let at = 0
  let seen = 0
  let star = -1
  let mark = 0
  while (seen < name.length) {
    if (pattern[at] === '*') {
      star = at
      at += 1
      mark = seen
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === name[seen])) {
      at += 1
      seen += 1
    } else if (star !== -1) {
      at = star + 1
      mark += 1
      seen = mark
    } else return false
  }
  while (pattern[at] === '*') at += 1
  return at === pattern.length
}
