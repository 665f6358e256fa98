import { BlockList, isIP } from 'node:net'
import { KithError } from '../core/errors.ts'
import { type ProxyRoute, parseProxy, proxyRoute } from '../transport/proxy.ts'
import type { Transport } from '../transport/types.ts'
import type { ConfigHolder } from './config/holder.ts'
import type { Config } from './config/settings.ts'

/** The proxies of the configuration in effect: a reload changes what is dialled next, and no connection that stands. */
export function configuredProxies(config: Pick<ConfigHolder, 'current'>): ProxyRoute {
  let read: readonly unknown[] = []
  let route = proxyRoute([], () => true)
  return {
    for(host) {
      const { 'link.proxy': proxies, 'link.proxy_direct': direct } = config.current
      if (read[0] !== proxies || read[1] !== direct) {
        read = [proxies, direct]
        route = routeOf(proxies, direct)
      }
      return route.for(host)
    },
  }
}

function routeOf(proxies: Config['link.proxy'], direct: Config['link.proxy_direct']): ProxyRoute {
  const list = new BlockList()
  for (const network of direct) {
    const [address = '', bits] = network.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return proxyRoute(proxies.map(parseProxy), (address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
}

/**
 * A transport over UDP beside proxies, which carry TCP only: it dials nothing that belongs behind them, so that no packet tells a peer or a network on the way where
 * this machine is. Listening goes on.
 */
export function besideProxies(transport: Transport, proxies: ProxyRoute): Transport {
  const refuse = (address: string): void => {
    const host = /^[a-z]+:\/\/(?:\[([^\]]+)\]|([^:/]+))/.exec(address)
    if (proxies.for(host?.[1] ?? host?.[2] ?? '').length === 0) return
    throw new KithError('SCHEME_UNAVAILABLE', `${transport.scheme} runs over UDP, which the proxies in link.proxy do not carry`, {
      details: { address, reason: 'proxy' },
      next: 'kith config show link.proxy',
    })
  }
  const { locate } = transport
  return {
    scheme: transport.scheme,
    listen: (address, onChannel, options) => transport.listen(address, onChannel, options),
    async dial(address, options) {
      refuse(address)
      return await transport.dial(address, options)
    },
    ...(locate === undefined
      ? {}
      : {
          async locate(address: string, request: Uint8Array, options: { signal: AbortSignal }) {
            refuse(address)
            return await locate.call(transport, address, request, options)
          },
        }),
  }
}
