import { forwardsSchema, type NamedForward } from '../forwards.ts'
import { proxiesSchema, withoutCredentials } from '../proxies.ts'
import { type Section, setting } from '../setting.ts'
import { duration, showDuration } from '../values.ts'

/** Forwards and proxies. */
export interface TunnelSettings {
  readonly forward: readonly NamedForward[]
  readonly 'tunnel.outbound': readonly string[]
  readonly 'tunnel.idle': number
  readonly 'tunnel.connect': number
}

export const TUNNELS: Section<TunnelSettings> = {
  forward: setting({
    schema: forwardsSchema,
    fallback: [],
    dynamic: true,
    about: 'Named forwards, a table each: [[forward]] with name, peer, kind and where they begin and end; kith forward --save writes them.',
    show: (rows) => JSON.stringify(rows.map(({ name }) => name)),
  }),
  'tunnel.outbound': setting({
    schema: proxiesSchema,
    fallback: [],
    dynamic: true,
    about: 'Proxies through which connections of peers leave here, in their order; loopback, sockets and UDP never go through them.',
    show: (proxies) => JSON.stringify(withoutCredentials(proxies)),
    tell: withoutCredentials,
  }),
  'tunnel.idle': setting({
    schema: duration(0, 604_800_000),
    fallback: 0,
    dynamic: true,
    about: 'How long a forwarded connection may carry nothing before it is reset; 0 for ever.',
    show: showDuration,
  }),
  'tunnel.connect': setting({
    schema: duration(1_000, 120_000),
    fallback: 10_000,
    dynamic: true,
    about: 'How long the target of a forward may take to answer.',
    show: showDuration,
  }),
}
