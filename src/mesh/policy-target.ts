import { type IpAddress, type IpNetwork, inNetwork, networkContains, networkNeverByRange, neverByRange, parseIp, parseNetwork } from './ip.ts'

/**
 * Targets of rules and of requests.
 *
 * ```text
 * forward   HOST:PORT       HOST = name | *.name | * | a.b.c.d[/bits] | [v6[/bits]]     PORT = n | n-m | *
 *           unix:/path      exactly this socket
 * listen, datagram          the same: where a peer lets this node listen for it, and where it sends UDP
 * open      a/protocol/1    `*` stands for any run of characters
 * call      service/op      the same; vault/derive/PATH is a private key, which no wildcard reaches
 * offer     alias/service   the same: a worker registers operations of the service under the alias
 * publish, subscribe        a topic's name, the same; `:` belongs to it
 * link, ping, file, mailbox no target
 * ```
 */
export type TargetPattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'text'; readonly pattern: string }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'endpoint'; readonly host: HostPattern; readonly low: number; readonly high: number }

type HostPattern =
  | { readonly kind: 'any' }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'glob'; readonly pattern: string }
  | { readonly kind: 'network'; readonly network: IpNetwork }

/** What a peer asks for, after strict parsing: nothing else ever reaches a rule or is printed. */
export type Target =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'endpoint'; readonly name: string | undefined; readonly address: IpAddress | undefined; readonly port: number }

/** Endpoints of this node itself, which only a rule naming host and port exactly reaches. */
export interface Guard {
  /** Names of doors inside the node; matched exactly or not at all. */
  reservedName(name: string): boolean
  /** Whether `port` at `address` (a local one) is the node's own control or gateway port. */
  ownPort(address: IpAddress, port: number): boolean
}

export type TargetKind = 'endpoint' | 'text' | 'topic' | 'none'

/** Actions of this version and the kind of target each takes. */
export const ACTIONS: ReadonlyMap<string, TargetKind> = new Map([
  ['link', 'none'],
  ['ping', 'none'],
  ['open', 'text'],
  ['forward', 'endpoint'],
  ['listen', 'endpoint'],
  ['datagram', 'endpoint'],
  ['file', 'none'],
  ['call', 'text'],
  ['offer', 'text'],
  ['publish', 'topic'],
  ['subscribe', 'topic'],
  ['mailbox', 'none'],
])

const KEY_TARGET = 'vault/derive/'
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/
const TEXT = /^[A-Za-z0-9._/-]{1,128}$/
const TEXT_PATTERN = /^[A-Za-z0-9._/*-]{1,128}$/
const TOPIC = /^[A-Za-z0-9._:/-]{1,128}$/
const TOPIC_PATTERN = /^[A-Za-z0-9._:/*-]{1,128}$/
/**
 * Names that the public DNS cannot answer for, so that a rule for one names what the owner's machine or network says it is. Not `local`: over multicast DNS
 * whoever is on the network answers.
 */
const PRIVATE_SUFFIXES = ['localhost', 'internal', 'lan', 'home.arpa', 'test']
const LOOPBACK = parseIp('127.0.0.1') as IpAddress

/** Reads a request's target; `undefined` when it is none that a rule could name. */
export function parseTarget(kind: TargetKind, text: string | undefined, address: string | undefined, guard: Guard): Target | undefined {
  if (kind === 'none') return text === undefined ? { kind } : undefined
  if (text === undefined) return undefined
  if (kind === 'text' || kind === 'topic') return (kind === 'text' ? TEXT : TOPIC).test(text) ? { kind: 'text', text } : undefined
  const path = unixPath(text)
  if (path !== undefined) return { kind: 'unix', path }
  const parts = splitEndpoint(text)
  if (parts === undefined || !/^(0|[1-9][0-9]{0,4})$/.test(parts.port) || Number(parts.port) > 65_535) return undefined
  const port = Number(parts.port)
  const literal = parseIp(parts.host)
  if (literal !== undefined) return port === 0 ? undefined : { kind, name: undefined, address: literal, port }
  const name = normalName(parts.host)
  if (parts.bracketed || name === undefined || (port === 0 && !guard.reservedName(name))) return undefined
  const resolved = address === undefined ? undefined : parseIp(address)
  if (address !== undefined && resolved === undefined) return undefined
  return { kind, name, address: resolved, port }
}

/** Reads a rule's target. @throws TypeError with a sentence for the owner when the text is malformed or a rule of this effect could never match. */
export function parsePattern(action: string, text: string | undefined, allow: boolean, guard: Guard): TargetPattern {
  if (text === undefined) return { kind: 'any' }
  const kind = action === '*' ? 'none' : ACTIONS.get(action)
  if (kind === undefined) throw new TypeError(`there is no action ${JSON.stringify(action)}: use ${[...ACTIONS.keys()].join(', ')}`)
  if (kind === 'none') throw new TypeError(`the action ${action} takes no target, so this rule would never match`)
  if (kind === 'text') {
    if (!TEXT_PATTERN.test(text)) throw new TypeError('a target of this action is 1 to 128 letters, digits and . _ / - with * for any run of them')
    if (allow && text.startsWith(KEY_TARGET) && text.includes('*'))
      throw new TypeError('no wildcard reaches private keys, so this rule would never match; write the path in full')
    return { kind: 'text', pattern: text }
  }
  if (kind === 'topic') {
    if (!TOPIC_PATTERN.test(text)) throw new TypeError('the name of a topic is 1 to 128 letters, digits and . _ : / - with * for any run of them')
    return { kind: 'text', pattern: text }
  }
  return parseEndpointPattern(text, allow, guard)
}

function parseEndpointPattern(text: string, allow: boolean, guard: Guard): TargetPattern {
  if (text.startsWith('unix:')) {
    const path = unixPath(text)
    if (path === undefined) throw new TypeError('a socket is named exactly: unix:/absolute/path, without wildcard, .. or //')
    return { kind: 'unix', path }
  }
  const parts = splitEndpoint(text)
  if (parts === undefined) throw new TypeError('the target of a forward is written HOST:PORT, an IPv6 address in brackets')
  const host = parseHost(parts.host, parts.bracketed)
  const reserved = host.kind === 'name' && guard.reservedName(host.name)
  const [low, high] = parsePorts(parts.port, reserved)
  if (allow && host.kind === 'network' && host.network.bits < 128 && networkNeverByRange(host.network)) {
    throw new TypeError(
      `no range reaches loopback, link-local, multicast or metadata addresses, so this rule would never match; name the address: 127.0.0.1:${parts.port}`,
    )
  }
  if (allow && host.kind === 'glob' && guardedName(host.pattern.replaceAll('*', 'x'), guard)) {
    throw new TypeError('no wildcard reaches this machine or its reserved names, so this rule would never match; write the name in full')
  }
  return { kind: 'endpoint', host, low, high }
}

function parseHost(text: string, bracketed: boolean): HostPattern {
  if (text === '*') return { kind: 'any' }
  const network = text.includes('/') ? parseNetwork(text) : undefined
  if (network !== undefined) return { kind: 'network', network }
  if (text.includes('/')) throw new TypeError(`${text} is not a network: write ADDRESS/BITS with zeros below the prefix, like 10.0.0.0/8`)
  const address = parseIp(text)
  if (address !== undefined) return { kind: 'network', network: { base: address, bits: 128 } }
  if (bracketed) throw new TypeError(`${text} is not an IPv6 address`)
  const lower = text.toLowerCase().replace(/\.$/, '')
  if (!lower.includes('*')) {
    const name = normalName(lower)
    if (name === undefined) throw new TypeError(`${text} is neither a host name nor an IP address, so this rule would never match`)
    return { kind: 'name', name }
  }
  if (/^[0-9.*]+$/.test(lower)) throw new TypeError(`addresses are matched by network, not by wildcard: write 10.0.0.0/8 instead of ${text}`)
  if (normalName(lower.replaceAll('*', 'x')) === undefined) throw new TypeError(`${text} matches no possible host name`)
  return { kind: 'glob', pattern: lower }
}

function parsePorts(text: string, reserved: boolean): readonly [number, number] {
  if (text === '*') return [1, 65_535]
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text)
  const low = Number(match?.[1])
  const high = match?.[2] === undefined ? low : Number(match[2])
  if (match === null || low > high || high > 65_535 || (low === 0 && !(reserved && high === 0))) {
    throw new TypeError(`${text} is no port: write one from 1 to 65535, a range like 8000-8099, or *`)
  }
  return [low, high]
}

/** The one spelling of a pattern, as it is listed and stored. */
export function formatPattern(pattern: TargetPattern, original: string | undefined): string | undefined {
  if (pattern.kind === 'any') return undefined
  if (pattern.kind === 'endpoint' && pattern.host.kind === 'name')
    return `${pattern.host.name}:${(original ?? '').slice((original ?? '').lastIndexOf(':') + 1)}`
  return original
}

/** Whether a rule of this effect covers the target. Rules that allow reach guarded endpoints only when they name them exactly; rules that deny reach everything. */
export function matchesTarget(pattern: TargetPattern, target: Target, allow: boolean, guard: Guard): boolean {
  switch (pattern.kind) {
    case 'any':
      return !allow || !guardedTarget(target, guard)
    case 'text':
      if (target.kind !== 'text') return false
      return allow && namesKey(target) ? pattern.pattern === target.text : globMatches(pattern.pattern, target.text)
    case 'unix':
      return target.kind === 'unix' && target.path === pattern.path
    case 'endpoint':
      if (target.kind !== 'endpoint' || target.port < pattern.low || target.port > pattern.high) return false
      return matchesHost(pattern.host, target) && (!allow || !guardedTarget(target, guard) || namesExactly(pattern, target, guard))
  }
}

/**
 * Whether the rule could decide what `inner` names: certainly for names, networks and texts it contains, and possibly where a network meets
 * a name that is not resolved yet. New rules go before such a rule of the opposite effect.
 */
export function mayDecide(outer: TargetPattern, inner: TargetPattern): boolean {
  if (outer.kind === 'any') return true
  if (outer.kind === 'text') return inner.kind === 'text' && globMatches(outer.pattern, inner.pattern)
  if (outer.kind === 'unix') return inner.kind === 'unix' && inner.path === outer.path
  if (inner.kind !== 'endpoint' || inner.low < outer.low || inner.high > outer.high) return false
  const [host, other] = [outer.host, inner.host]
  if (host.kind === 'any') return true
  if (host.kind === 'network') return other.kind === 'name' || (other.kind === 'network' && networkContains(host.network, other.network))
  // A name may turn out to be exactly this address; the newer word is the more explicit one.
  if (other.kind === 'network') return other.network.bits === 128
  if (host.kind === 'name') return other.kind === 'name' && other.name === host.name
  return (other.kind === 'name' && hostGlobMatches(host.pattern, other.name)) || (other.kind === 'glob' && hostGlobMatches(host.pattern, other.pattern))
}

/** A name that was not resolved yet may still be decided by a rule for a network. */
export function awaitsAddress(pattern: TargetPattern, target: Target): boolean {
  if (pattern.kind !== 'endpoint' || pattern.host.kind !== 'network' || target.kind !== 'endpoint') return false
  return target.address === undefined && target.port >= pattern.low && target.port <= pattern.high
}

function matchesHost(host: HostPattern, target: Target & { kind: 'endpoint' }): boolean {
  if (host.kind === 'any') return true
  if (host.kind === 'network') return target.address !== undefined && inNetwork(target.address, host.network)
  if (target.name === undefined) return false
  return host.kind === 'name' ? host.name === target.name : hostGlobMatches(host.pattern, target.name)
}

/**
 * Private keys of the vault, as the action `call` names them: `vault/derive/m/74h/0h/0h/3h`. A rule that allows names the path in full and the one who may have it.
 */
export function namesKey(target: Target): boolean {
  return target.kind === 'text' && target.text.startsWith(KEY_TARGET)
}

function guardedTarget(target: Target, guard: Guard): boolean {
  if (target.kind === 'unix' || namesKey(target)) return true
  if (target.kind !== 'endpoint') return false
  if (target.name !== undefined && guardedName(target.name, guard)) return true
  return target.address !== undefined && (neverByRange(target.address) || guard.ownPort(target.address, target.port))
}

function namesExactly(pattern: TargetPattern & { kind: 'endpoint' }, target: Target & { kind: 'endpoint' }, guard: Guard): boolean {
  const { host } = pattern
  const exactPort = pattern.low === pattern.high
  const address = target.address ?? (target.name !== undefined && isLocalhost(target.name) ? LOOPBACK : undefined)
  if (address !== undefined && guard.ownPort(address, target.port) && !exactPort) return false
  if (host.kind === 'network') return host.network.bits === 128
  if (host.kind !== 'name') return false
  // A name that the public DNS answers for must not turn into this machine: whoever runs that zone would choose the target.
  return target.address === undefined || !neverByRange(target.address) || isPrivateName(host.name)
}

function isPrivateName(name: string): boolean {
  return !name.includes('.') || PRIVATE_SUFFIXES.some((suffix) => name.endsWith(`.${suffix}`))
}

function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost')
}

function guardedName(name: string, guard: Guard): boolean {
  return isLocalhost(name) || guard.reservedName(name)
}

/** Lower case, no final dot, labels of letters, digits, `_` and `-`; never something that a resolver would read as a number. */
function normalName(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name.length === 0 || name.length > 253) return undefined
  const labels = name.split('.')
  if (!labels.every((label) => LABEL.test(label))) return undefined
  return /^(0x[0-9a-f]*|[0-9]+)$/.test(labels.at(-1) as string) ? undefined : name
}

function unixPath(text: string): string | undefined {
  if (!text.startsWith('unix:/') || text.length > 5 + 107) return undefined
  const path = text.slice(5)
  const parts = path.slice(1).split('/')
  return /^[A-Za-z0-9._/@:-]+$/.test(path) && parts.every((part) => part !== '' && part !== '.' && part !== '..') ? path : undefined
}

function splitEndpoint(text: string): { host: string; port: string; bracketed: boolean } | undefined {
  if (text.length > 300) return undefined
  const bracketed = /^\[([0-9a-fA-F:.]+(?:\/[0-9]{1,3})?)\]:([^:]+)$/.exec(text)
  if (bracketed !== null) return { host: bracketed[1] as string, port: bracketed[2] as string, bracketed: true }
  const plain = /^([^:[\]\s]+):([^:\s]+)$/.exec(text)
  return plain === null ? undefined : { host: plain[1] as string, port: plain[2] as string, bracketed: false }
}

/** `*` as the first label stands for one or more labels; elsewhere it stays inside its label. */
function hostGlobMatches(pattern: string, name: string): boolean {
  const wanted = pattern.split('.')
  const labels = name.split('.')
  if (wanted[0] === '*') {
    if (labels.length < wanted.length) return false
    const tail = labels.slice(labels.length - wanted.length + 1)
    return tail.every((label, at) => globMatches(wanted[at + 1] as string, label))
  }
  return labels.length === wanted.length && labels.every((label, at) => globMatches(wanted[at] as string, label))
}

/** `*` stands for any run of characters. Linear: each piece is found once, leftmost. */
function globMatches(pattern: string, text: string): boolean {
  const pieces = pattern.split('*')
  const first = pieces[0] as string
  const last = pieces.at(-1) as string
  if (pieces.length === 1) return text === pattern
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
  let at = first.length
  const end = text.length - last.length
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at)
    if (found === -1 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
