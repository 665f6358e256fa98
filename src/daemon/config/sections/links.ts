import { z } from 'zod'
import { MAX_POLL_US } from '../../../transport/mux/poller.ts'
import { PRIVATE_NETWORKS, proxiesSchema, withoutCredentials } from '../proxies.ts'
import { type Section, setting } from '../setting.ts'
import { flag, network, whole, wholePathOrNone } from '../values.ts'

const SCHEMES = ['tcp', 'quic', 'udx', 'tls', 'wss', 'relay', 'memory'] as const

/** Kinds of paths this version has a name for; which of them work here is said by `kith doctor`. */
const scheme: z.ZodType<string> = z.enum(SCHEMES, `expected schemes out of ${SCHEMES.join(', ')}`)

/** A URL of a transport. Whether the scheme can be used on this machine is said when listening. */
const listenUrl: z.ZodType<string> = z
  .string('expected an address such as "tcp://0.0.0.0:4433"')
  .max(300)
  .regex(/^[a-z][a-z0-9+.-]{0,15}:\/\/[^\s/@?#]+:\d{1,5}$/, 'expected an address such as "tcp://0.0.0.0:4433"')
  .refine((url) => Number(url.slice(url.lastIndexOf(':') + 1)) <= 65_535, 'a port is at most 65535')

/** Addresses, links and how peers are found. */
export interface LinkSettings {
  readonly listen: readonly string[]
  readonly 'link.prefer': readonly string[]
  readonly 'link.require_pq': boolean
  readonly 'link.poll_us': number
  readonly 'link.proxy': readonly string[]
  readonly 'link.proxy_direct': readonly string[]
  readonly 'link.site_ca_file': string
  readonly 'discovery.mdns': boolean
  readonly 'discovery.home_networks': readonly string[]
}

export const LINKS: Section<LinkSettings> = {
  listen: setting({
    schema: z.array(listenUrl, 'expected a list of addresses such as ["tcp://0.0.0.0:4433"]').max(16).readonly(),
    fallback: [],
    dynamic: false,
    about: 'Addresses to listen on. Empty: the peer port on all interfaces, 4433 or the next free one.',
  }),
  'link.prefer': setting({
    schema: z.array(scheme, 'expected a list of schemes').max(SCHEMES.length).readonly(),
    fallback: ['tcp', 'quic', 'udx', 'tls', 'wss', 'relay'],
    dynamic: true,
    about: 'Order in which kinds of paths are preferred.',
  }),
  'link.require_pq': setting({
    schema: flag,
    fallback: false,
    dynamic: true,
    about: 'Refuse links whose key exchange is not post-quantum (excludes quic).',
  }),
  'link.poll_us': setting({
    schema: whole(0, MAX_POLL_US),
    fallback: 0,
    dynamic: true,
    about:
      'For how many microseconds a link looks for an answer before the process sleeps, as long as that brings answers sooner; 0: it sleeps at once. A processor is busy meanwhile; 200 is a good value, and both machines want it.',
  }),
  'link.proxy': setting({
    schema: proxiesSchema,
    fallback: [],
    dynamic: true,
    about: 'Proxies to dial through, in their order: socks5://[USER:PASSWORD@]HOST[:PORT] or http://...; kinds of paths over UDP are not dialled then.',
    show: (proxies) => JSON.stringify(withoutCredentials(proxies)),
    tell: withoutCredentials,
  }),
  'link.proxy_direct': setting({
    schema: z.array(network, 'expected a list of networks such as ["192.168.0.0/16"]').max(64).readonly(),
    fallback: PRIVATE_NETWORKS,
    dynamic: true,
    about: 'Networks whose addresses are dialled past the proxies: by default loopback and private ones, which mean other machines at a proxy.',
  }),
  'link.site_ca_file': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: true,
    about: 'Certificates (PEM) of the authorities that vouch for the sites of wss:// addresses; empty: the public ones.',
  }),
  'discovery.mdns': setting({
    schema: flag,
    fallback: true,
    dynamic: false,
    about: 'Announce this node on the local network and find known peers there.',
  }),
  'discovery.home_networks': setting({
    schema: z.array(network, 'expected a list of networks such as ["192.168.1.0/24"]').max(64).readonly(),
    fallback: [],
    dynamic: false,
    about: 'Networks where the DID itself is announced; elsewhere a daily changing digest of it is.',
  }),
}
