import { type AddressPatterns, parseAddressPatterns } from './address-pattern.ts'

/**
 * # Options of a line of `authorized_keys` (sshd(8), AUTHORIZED_KEYS FILE FORMAT)
 *
 * ```text
 * restrict,from="192.0.2.0/24,!192.0.2.13",expiry-time="20270131Z" ssh-ed25519 AAAA... comment
 * ```
 *
 * Names without regard to case, values in double quotes, `\"` for a quote inside, no space outside of quotes. What this node honours is taken; what has no meaning
 * here because there is no shell is taken without effect; what would promise a limit that is not kept refuses the line, and so does what nobody knows.
 */
export interface LineOptions {
  readonly certAuthority: boolean
  /** Names of which a certificate must have one; with `certAuthority` only. */
  readonly principals: readonly string[] | undefined
  readonly from: AddressPatterns | undefined
  /** Ms since 1970: from then on the line counts no more. */
  readonly expiresMs: number | undefined
  readonly portForwarding: boolean
}

/** A line that is well written and still not taken, and why. */
export class LineRefused extends Error {}

const MAX_OPTIONS = 64
const MAX_PRINCIPALS = 256
/** There is no shell, no terminal, no agent, no X server here, so these change nothing. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  ['agent-forwarding', 'pty', 'user-rc', 'x11-forwarding'].flatMap((name) => [name, `no-${name}`]).concat('environment', 'tunnel', 'no-touch-required'),
)
/** Limits that are set elsewhere here, by what that is. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['command', 'there is no shell to run a command in; which operations a key may call is a rule: kith allow ssh:SHA256:... call service/op'],
  ['permitopen', 'where a key may forward to is a rule here: kith allow ssh:SHA256:... forward HOST:PORT'],
  ['permitlisten', 'what a key may listen on is a rule here, not an option of its line'],
  ['verify-required', 'it is for keys of security tokens, and only Ed25519 keys log in here'],
])

/** Splits the options from what follows them: the index of the first space or tab outside of quotes. */
export function optionsEnd(line: string): number {
  let quoted = false
  for (let at = 0; at < line.length; at++) {
    const char = line[at]
    if (char === '\\' && quoted && line[at + 1] === '"') at++
    else if (char === '"') quoted = !quoted
    else if (!quoted && (char === ' ' || char === '\t')) return at
  }
  return line.length
}

/** @throws TypeError for what is malformed, with a sentence; LineRefused for what is understood and not taken. */
export function parseLineOptions(text: string): LineOptions {
  const seen = new Map<string, string | undefined>()
  for (const [name, value] of splitOptions(text)) {
    if (seen.has(name) && name !== 'environment') throw new TypeError(`the option ${name} stands there twice`)
    seen.set(name, value)
    if (seen.size > MAX_OPTIONS) throw new TypeError(`a line has at most ${MAX_OPTIONS} options`)
  }
  for (const [name, value] of seen) check(name, value)
  const certAuthority = seen.has('cert-authority')
  const principals = seen.get('principals')
  if (principals !== undefined && !certAuthority) throw new LineRefused('principals= has a meaning for cert-authority only')
  const from = seen.get('from')
  const expiry = seen.get('expiry-time')
  return {
    certAuthority,
    principals: principals === undefined ? undefined : parsePrincipals(principals),
    from: from === undefined ? undefined : parseAddressPatterns(from),
    expiresMs: expiry === undefined ? undefined : parseExpiry(expiry),
    portForwarding: forwarding(seen),
  }
}

function check(name: string, value: string | undefined): void {
  const refused = REFUSED.get(name)
  if (refused !== undefined) throw new LineRefused(`${name} is not taken: ${refused}`)
  const valued = ['from', 'principals', 'expiry-time', 'environment', 'tunnel'].includes(name)
  const known = valued || WITHOUT_EFFECT.has(name) || ['cert-authority', 'restrict', 'port-forwarding', 'no-port-forwarding'].includes(name) || isPermit(name)
  if (!known) throw new TypeError(`there is no option ${JSON.stringify(name.slice(0, 40))}`)
  if (valued !== (value !== undefined)) throw new TypeError(valued ? `the option ${name} needs a value: ${name}="..."` : `the option ${name} has no value`)
}

/** Words of certificates' extensions that people put here. */
function isPermit(name: string): boolean {
  return /^permit-(agent-forwarding|port-forwarding|pty|user-rc|x11-forwarding)$/.test(name)
}

/** `restrict` takes everything away, and what stands there by name gives it back or takes it away. */
function forwarding(options: ReadonlyMap<string, unknown>): boolean {
  if (options.has('no-port-forwarding')) return false
  return !options.has('restrict') || options.has('port-forwarding') || options.has('permit-port-forwarding')
}

function* splitOptions(text: string): Generator<[name: string, value: string | undefined]> {
  let rest = text
  while (true) {
    const match = /^([A-Za-z0-9@._-]{1,64})(?:="((?:[^"\\]|\\.)*)")?(,|$)/.exec(rest)
    if (match === null) throw new TypeError('the options are not written NAME or NAME="VALUE" with commas between them')
    yield [(match[1] as string).toLowerCase(), match[2]?.replaceAll('\\"', '"')]
    rest = rest.slice(match[0].length)
    if (match[3] === '') return
    if (rest === '') throw new TypeError('an option is missing behind the last comma')
  }
}

function parsePrincipals(text: string): readonly string[] {
  const names = text.split(',')
  if (names.length > MAX_PRINCIPALS || names.some((name) => !/^[!-~]{1,64}$/.test(name)))
    throw new TypeError('principals= is a list of names without spaces, at least one')
  return names
}

/** `YYYYMMDD[HHMM[SS]]`, of this machine's time zone, or with `Z` of UTC. */
function parseExpiry(text: string): number {
  const match = /^(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(Z?)$/.exec(text)
  const [year, month, day, hour, minute, second] = (match ?? []).slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const valid =
    match !== null && month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate() && hour < 24 && minute < 60 && second < 60
  if (!valid) throw new TypeError('expiry-time is written YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z behind it for UTC')
  return match[7] === 'Z' ? Date.UTC(year, month - 1, day, hour, minute, second) : new Date(year, month - 1, day, hour, minute, second).getTime()
}
