import type { WorkerCallOptions, WorkerCalls } from './head-types.ts'
import type { CallClient, PeerCallOptions } from './link.ts'

/** Calls workers over links: to exactly the machine that registered, with the caller as a statement. For its owner a head calls as itself. */
export function callsOverLinks(client: CallClient): WorkerCalls {
  return {
    undecoded: true,
    call: ({ peer, linkKey }, name, input, options) => client.call(peer, `/${name}`, input, linkOptions(linkKey, options)),
    stream: ({ peer, linkKey }, name, input, options) => client.stream(peer, `/${name}`, input, linkOptions(linkKey, options)),
  }
}

function linkOptions(linkKey: string, options: WorkerCallOptions): PeerCallOptions {
  const { caller } = options
  return caller.via === 'local' ? { ...options, linkKey } : { ...options, linkKey, onBehalfOf: caller }
}
