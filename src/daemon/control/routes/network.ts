import { z } from 'zod'
import { peerStatus } from '../../status.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { NetworkApi } from './network-api.ts'

const nothing = z.object({})

export const networkRoutes: RoutesOf<NetworkApi> = {
  'GET /v1/network/peers': json(nothing, ({ mesh }) => ({
    peers: mesh
      .network()
      .discovered.map(({ did, name, urls, source, seenMs }) => ({ did, name, addresses: urls, source, seen_at: new Date(seenMs).toISOString() })),
  })),
  'POST /v1/network/dial': json(
    z.object({ peer: z.string().min(1).max(200), url: z.string().max(300).optional() }),
    async ({ assembly }, input, { signal }) => {
      const link = await callersWords(() => assembly.mesh.dial(input.peer, { signal, ...(input.url === undefined ? {} : { url: input.url }) }))
      return peerStatus(link, assembly)
    },
  ),
  'GET /v1/network/stats': json(nothing, ({ mesh }) => {
    const { links, connections, streams, bytesIn, bytesOut, isolatedLinks, admission } = mesh.network().stats
    return { links, connections, streams, bytes_in: bytesIn, bytes_out: bytesOut, isolated_links: isolatedLinks, admission }
  }),
  'GET /v1/network/status': json(nothing, ({ mesh, config }) => ({
    listen: mesh.addresses,
    schemes: mesh.schemes,
    links: mesh.network().stats.links,
    discovery: { mdns: config.current['discovery.mdns'], peers: mesh.network().discovered.length },
  })),
}
