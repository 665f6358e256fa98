import { BlockList, isIP } from 'node:net'

/**
 * Patterns of addresses as OpenSSH has them (ssh_config(5), PATTERNS; sshd's `from=`), of addresses only: what a name resolves to is its owner's word.
 *
 * ```text
 * 192.0.2.0/24,2001:db8::/32,198.51.100.7,10.1.*,!192.0.2.13        one that matches admits, one with ! that matches refuses whatever else does
 * ```
 */
export interface AddressPatterns {
  /** As it was written. */
  readonly text: string
  matches(address: string): boolean
}

const MAX_PATTERNS = 256
/** Bits behind the first part of a mapped address. */
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** @throws TypeError with a sentence for what could never match. */
export function parseAddressPatterns(text: string, options: { readonly wildcards: boolean } = { wildcards: true }): AddressPatterns {
  const parts = text.split(',')
  if (parts.length > MAX_PATTERNS) throw new TypeError(`at most ${MAX_PATTERNS} addresses in one list`)
  const [admit, refuse] = [new AddressSet(), new AddressSet()]
  let admits = 0
  for (const part of parts) {
    const negated = part.startsWith('!')
    const pattern = negated ? part.slice(1) : part
    const set = negated ? refuse : admit
    if (!negated) admits++
    set.add(pattern, options.wildcards)
  }
  if (admits === 0) throw new TypeError('a list that only refuses would never match')
  return {
    text,
    matches(address) {
      const plain = plainAddress(address)
      return plain !== undefined && admit.has(plain) && !refuse.has(plain)
    },
  }
}

/** IPv4 in its own form, IPv6 without zone; `undefined` for what is no address. */
function plainAddress(text: string): string | undefined {
  const bare = text.replace(/%.*$/, '')
  const mapped = MAPPED.exec(bare)?.[1]
  if (mapped !== undefined && isIP(mapped) === 4) return mapped
  return isIP(bare) === 0 ? undefined : bare.toLowerCase()
}

class AddressSet {
  readonly #list = new BlockList()
  readonly #globs: string[] = []

  add(pattern: string, wildcards: boolean): void {
    const [base = '', bits, ...rest] = pattern.split('/')
    const address = bits === undefined ? plainAddress(base) : undefined
    const family = isIP(base)
    if (address !== undefined && !base.includes('%')) this.#list.addAddress(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
    else if (family !== 0 && rest.length === 0 && /^(0|[1-9][0-9]{0,2})$/.test(bits ?? '') && Number(bits) <= (family === 4 ? 32 : 128))
      this.#list.addSubnet(base, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
    else if (wildcards && /^[0-9a-fA-F.:*?]{1,60}$/.test(pattern)) this.#globs.push(pattern.toLowerCase())
    else throw new TypeError(`${shown(pattern)} is neither an address nor a network, so it would never match`)
  }

  has(address: string): boolean {
    return this.#list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6') || this.#globs.some((glob) => globMatches(glob, address))
  }
}

/** `*` any run, `?` any one character. Goes back to the last `*` only, so that it takes at most the product of both lengths. */
function globMatches(pattern: string, text: string): boolean {
  let [at, star, mark, i] = [0, -1, 0, 0]
  while (i < text.length) {
    if (pattern[at] === '*') [star, mark, at] = [at, i, at + 1]
    else if (pattern[at] === '?' || pattern[at] === text[i]) [at, i] = [at + 1, i + 1]
    else if (star >= 0) [at, mark, i] = [star + 1, mark + 1, mark + 1]
    else return false
  }
  return /^\**$/.test(pattern.slice(at))
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60))
}
