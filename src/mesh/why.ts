import { KithError } from '../core/errors.ts'
import { type Did, shortDid } from '../identity/did.ts'
import { schemeOf } from './addresses.ts'
import type { Dialer } from './dialer.ts'
import type { Link } from './link-table.ts'
import { banRule, unbanCommand } from './mesh-rules.ts'
import type { BanStatus, CandidateResult, ChainStanding, Decision, Explanation, PeerClass } from './types.ts'

/** Beyond this a difference of clocks is worth saying. */
const CLOCK_MS = 30_000

export interface WhyInput {
  readonly own: Did
  readonly did: Did
  readonly links: readonly Link[]
  readonly dialer: Dialer
  readonly schemes: readonly string[]
  readonly prefer: readonly string[]
  readonly decision: Decision | undefined
  readonly chain: ChainStanding | null
  /** Where the peer stands here; `low`: in a stranger's place for what it did; `capped`: at most Known because its keys are first-seen. */
  readonly standing: { readonly class: PeerClass; readonly score: number; readonly low: boolean; readonly capped: boolean }
  /** A ban here of the identity, or of every device known of it. */
  readonly ban: BanStatus | undefined
}

/**
 * What `why` answers: the path in use, and for every other way what came of it: the code it failed with, that it was not tried because a better one works,
 * that this node has no transport for it; a difference of clocks is named wherever it may explain a failure.
 */
export function explain(input: WhyInput): Explanation {
  const { did, links, dialer, ban } = input
  const decision = banned(input) ?? input.decision
  const current = links.map((link) => link.current).find((member) => member !== undefined)
  const clock = clockNote(dialer.clockOffset(did))
  const results = new Map(dialer.results(did).map((result) => [result.url, result]))
  const candidates: CandidateResult[] = []
  for (const member of links.flatMap((link) => [...link.members])) {
    if (member.state === 'closed') continue
    const inbound = member.link.role === 'listener' ? 'the peer connected to us' : 'we connected to the peer'
    const state = member.state === 'retiring' ? 'drains: the link moved to another connection' : member === current ? 'in use' : 'spare'
    candidates.push({ url: member.path.address, result: member === current ? 'active' : 'ok', reason: withNote(`${state}; ${inbound}`, clock) })
    results.delete(member.path.address)
  }
  for (const { url } of dialer.candidates(did)) {
    if (candidates.some((candidate) => candidate.url === url)) continue
    candidates.push(untried(url, results.get(url), input, current?.path.scheme, clock))
    results.delete(url)
  }
  for (const result of results.values()) candidates.push({ ...result, reason: withNote(result.reason, clock) })
  // Other schemes are worth naming where one of them would help.
  for (const scheme of ban !== undefined ? [] : betterSchemes(input, current?.path.scheme)) {
    if (candidates.some(({ url }) => schemeOf(url) === scheme)) continue
    const here = input.schemes.includes(scheme)
    candidates.push({
      url: `${scheme}:`,
      result: here ? 'untried' : 'SCHEME_UNAVAILABLE',
      reason: here ? `no ${scheme} address of this peer is known` : `this node has no transport for ${scheme}`,
    })
  }
  return {
    path: current?.path ?? null,
    chain: input.chain,
    candidates,
    decision: decision === undefined ? null : decision.allowed ? 'allowed' : 'denied',
    rule: decision === undefined ? null : decision.allowed ? decision.rule : `${decision.rule}${whereabouts(input)}`,
    next: decision?.next ?? chainStep(input) ?? (ban === undefined ? nextStep(input, candidates, current !== undefined) : unbanCommand(did)),
  }
}

/** Banned devices keep a peer from everything although no rule does. */
function banned({ did, decision, ban }: WhyInput): Decision | undefined {
  if (decision?.allowed !== true || ban === undefined) return undefined
  return { allowed: false, rule: `its devices are ${banRule(ban)}`, next: unbanCommand(did) }
}

/** What a class, a score or a topic's least standing was compared with. */
function whereabouts({ standing }: WhyInput): string {
  const seen = standing.capped ? ', at most known because only it showed its keys,' : ''
  return `; this peer is ${standing.class}${standing.low ? ' for what it did,' : seen} with a standing of ${(Math.round(standing.score / 100) / 100).toFixed(2)}`
}

function untried(url: string, tried: CandidateResult | undefined, input: WhyInput, active: string | undefined, clock: string | undefined): CandidateResult {
  const scheme = schemeOf(url)
  if (input.ban !== undefined) return { url, result: 'BANNED', reason: banRule(input.ban).replace(/^banned/, 'banned here') }
  if (!input.schemes.includes(scheme)) return { url, result: 'SCHEME_UNAVAILABLE', reason: `this node has no transport for ${scheme}` }
  if (tried !== undefined && tried.result !== 'ok') return { ...tried, reason: withNote(tried.reason, clock) }
  if (tried !== undefined) return { url, result: 'ok', reason: 'worked before' }
  const better = active !== undefined && input.dialer.rank(active) <= input.dialer.rank(scheme)
  return { url, result: 'untried', reason: better ? `${active} is preferred and works` : 'not tried yet' }
}

/** Schemes the owner likes better than the one in use; all of them while there is none. */
function betterSchemes({ prefer, schemes }: WhyInput, active: string | undefined): readonly string[] {
  if (active === undefined) return prefer.filter((scheme) => schemes.includes(scheme) && scheme !== 'memory')
  const at = prefer.indexOf(active)
  return (at === -1 ? prefer : prefer.slice(0, at)).filter((scheme) => scheme !== 'memory')
}

function nextStep({ own, did }: WhyInput, candidates: readonly CandidateResult[], linked: boolean): string | null {
  if (linked) return null
  if (candidates.some(({ result }) => result === 'POLICY_DENIED')) return `kith allow ${own} link (on the other machine)`
  if (candidates.some(({ result }) => result === 'BANNED')) return `${unbanCommand(own)} (on the other machine)`
  return candidates.some(({ url }) => url.includes('//')) ? `kith network dial ${did}` : `kith peers add ${did} URL`
}

/** A person has to decide about its keys before anything else helps. */
function chainStep({ did, chain, standing }: WhyInput): string | null {
  if (chain?.status === 'forked') return `kith peers repin ${did} --head HEX`
  return standing.capped ? `kith peers anchor ${did}` : null
}

function clockNote(offsetMs: number | undefined): string | undefined {
  if (offsetMs === undefined || Math.abs(offsetMs) < CLOCK_MS) return undefined
  return `its clock is ${Math.round(Math.abs(offsetMs) / 1000)} s ${offsetMs > 0 ? 'ahead of' : 'behind'} ours`
}

function withNote(reason: string, note: string | undefined): string {
  return note === undefined ? reason : `${reason} (${note})`
}

/** What the other side's owner could do about a protocol that was refused. Other errors are given back as they are. */
export function explainRefusal(error: KithError, me: Did, peer: Did, protocol: string): KithError {
  if (!error.remote || (error.code !== 'POLICY_DENIED' && error.code !== 'PROTOCOL_UNKNOWN')) return error
  const unknown = error.code === 'PROTOCOL_UNKNOWN'
  return new KithError(error.code, `${shortDid(peer)} does not ${unknown ? 'offer' : 'let this node open'} ${protocol}`, {
    remote: true,
    details: { ...error.details, peer, protocol },
    cause: error,
    ...(unknown ? {} : { next: `kith allow ${me} open ${protocol} (on the other machine)` }),
  })
}
