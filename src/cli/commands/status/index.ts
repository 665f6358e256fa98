import type { CommandSpec } from '../../spec.ts'

export const spec: CommandSpec = {
  name: 'status',
  summary: 'Show this node and its links',
  about: 'With every door that is open: where links arrive, the gateway, raw calls, SSH, the front door, and the forwards and proxies that listen here.',
  examples: ['kith status', 'kith status --json'],
  json: '{did, name, version, home, pid, uptime_s, listen: [], degraded: [{service, code, message, next}], peers: [{did, name, link_key, state, class, pending_class, chain: {status, index, head}, score, reputation, standing, rate: {messages_per_second, burst, shared}, path: {scheme, address, direct, via}, rtt_ms, pq, since, streams, bytes_in, bytes_out, retry_in_ms, last_error}], pairings: [{did, name, words, class, pending, time}], tunnels: [{id, kind, peer, target, local, connections, total, since, last_error}], topics: {count, entries, bytes, held}, mail: {inbox, unread, pending, kept_for_others}, inbox, services: [{name, state}], vaults: [], certificate: {source, names: [], expires_at, renews_at} | null, front: {listen, connections, ssh_path} | null, gateway, raw: {listen, socket} | null, ssh: {listen, sessions} | null, identity: {binding_expires_at, passphrase, holds_identity, hardware}}',
  load: () => import('./handler.ts'),
}
