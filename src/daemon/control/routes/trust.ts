import { z } from 'zod'
import type { Assembly } from '../../../assembly/types.ts'
import { toHex } from '../../../core/bytes.ts'
import { KithError } from '../../../core/errors.ts'
import type { Did } from '../../../identity/did.ts'
import { PEER_CLASSES } from '../../../mesh/constraints.ts'
import type { PeerClass } from '../../../mesh/types.ts'
import type { TrustEdge } from '../../../trust/types.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { EdgeShown, TrustApi, TrustListed, TrustShown } from './trust-api.ts'

const peer = z.string().min(1).max(200)
const weight = z.number().min(0).max(1)
const reason = z.string().min(1).max(1_000)
const labels = z.array(z.string().min(1).max(128)).max(10)
const ONE = 10_000
const MAX_BAN_MS = 30 * 86_400_000

export const trustRoutes: RoutesOf<TrustApi> = {
  'GET /v1/trust': json(z.object({}), ({ assembly }) => {
    const dids = new Set([...assembly.mesh.book.list().map(({ did }) => did), ...assembly.trust.standings().map(({ did }) => did)])
    return { peers: [...dids].map((did) => listed(assembly, did)) }
  }),
  'POST /v1/trust/show': json(z.object({ peer }), ({ assembly }, input) => shown(assembly, assembly.mesh.book.resolve(input.peer))),
  'POST /v1/trust/set': json(
    z.object({ peer, weight: weight.optional(), class: z.enum(PEER_CLASSES as [PeerClass, ...PeerClass[]]).optional() }),
    async ({ assembly }, input) => {
      const given = input.class ?? (input.weight === undefined ? undefined : basisPoints(input.weight))
      if (given === undefined || (input.class !== undefined && input.weight !== undefined)) throw new KithError('USAGE', 'One of weight and class is given.')
      const did = await callersWords(() => assembly.trust.set(input.peer, given))
      return shown(assembly, did)
    },
  ),
  'POST /v1/trust/attest': json(z.object({ peer, weight, labels: labels.optional() }), async ({ assembly }, input) => {
    const options = input.labels === undefined ? {} : { labels: input.labels }
    return shown(assembly, await callersWords(() => assembly.trust.attest(input.peer, basisPoints(input.weight), options)))
  }),
  'POST /v1/trust/revoke': json(z.object({ peer }), async ({ assembly }, input) =>
    shown(assembly, await callersWords(() => assembly.trust.revoke(input.peer))),
  ),
  'POST /v1/trust/graph': json(z.object({ peer }), async ({ assembly }, input) => {
    const did = assembly.mesh.book.resolve(input.peer)
    return { did, edges: (await assembly.trust.edges(did)).map((edge) => edgeShown(assembly, edge)) }
  }),
  'POST /v1/trust/ban': json(z.object({ peer, reason, for_ms: z.number().int().min(1_000).max(MAX_BAN_MS).optional() }), async ({ assembly }, input) => {
    const forMs = input.for_ms === undefined ? {} : { forMs: input.for_ms }
    return shown(assembly, await callersWords(() => assembly.trust.ban(input.peer, { reason: input.reason, ...forMs })))
  }),
  'POST /v1/trust/unban': json(z.object({ peer, reason }), async ({ assembly }, input) =>
    shown(assembly, await callersWords(() => assembly.trust.unban(input.peer, { reason: input.reason }))),
  ),
  'POST /v1/trust/pardon': json(z.object({ peer, reason }), async ({ assembly }, input) =>
    shown(assembly, await callersWords(() => assembly.trust.pardon(input.peer, { reason: input.reason }))),
  ),
}

function basisPoints(share: number): number {
  return Math.round(share * ONE)
}

function nameOf({ mesh }: Assembly, did: Did): string | null {
  return mesh.book.get(did)?.name ?? null
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

function listed(assembly: Assembly, did: Did): TrustListed {
  const { score, reputation } = assembly.trust.explain(did)
  const { state, untilMs } = assembly.trust.standing(did)
  const held = assembly.mesh.policy.classOf(did)
  const booked = assembly.mesh.book.get(did)?.class
  const capped = held === 'known' && assembly.mesh.chainOf(did)?.status === 'first-seen'
  return {
    did,
    name: nameOf(assembly, did),
    class: held,
    class_from: booked === undefined ? 'score' : booked === held ? 'address book' : capped ? 'keys' : 'standing',
    score: score / ONE,
    reputation: reputation / ONE,
    state,
    until: untilMs === undefined ? null : time(untilMs),
  }
}

function shown(assembly: Assembly, did: Did): TrustShown {
  const { direct, transitive, paths, pathCount, introducer } = assembly.trust.explain(did)
  const { devices, violations } = assembly.trust.standing(did)
  const said = assembly.trust.said(did)
  return {
    ...listed(assembly, did),
    direct: direct / ONE,
    transitive: transitive / ONE,
    paths: paths.map(({ via, first, second, contribution }) => ({
      via,
      via_name: nameOf(assembly, via),
      first: first / ONE,
      second: second / ONE,
      contribution: contribution / ONE,
    })),
    path_count: pathCount,
    introducer: introducer ?? null,
    said: said === undefined ? null : { weight: said.weight / ONE, labels: said.labels, expires_at: time(said.expiresMs) },
    devices: devices.map(({ device, bannedUntilMs, reason: why }) => ({
      device: toHex(device),
      banned_until: bannedUntilMs === undefined ? null : time(bannedUntilMs),
      reason: why,
    })),
    violations: violations.map(({ kind, weight: weighs, timeMs }) => ({ kind, weight: weighs, time: time(timeMs) })),
  }
}

function edgeShown(assembly: Assembly, { source, target, weight: points, labels: words, createdMs, expiresMs }: TrustEdge): EdgeShown {
  return {
    source,
    source_name: nameOf(assembly, source),
    target,
    target_name: nameOf(assembly, target),
    weight: points / ONE,
    labels: words,
    created_at: time(createdMs),
    expires_at: time(expiresMs),
  }
}
