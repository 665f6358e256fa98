import { toHex } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { StreamContext } from '../mesh/types.ts'
import type { LinkStream } from '../transport/types.ts'
import type { ServedStatus } from './exit.ts'
import { MAX_LISTEN_BYTES, TOKEN_BYTES, takeListenRequest } from './listen-wire.ts'
import { receiveRequest } from './reception.ts'
import { openRemote, type RemoteEntry, type RemoteEntryOptions } from './remote-entry.ts'
import { createRemoteExit, type RemoteExitOptions } from './remote-exit.ts'

export interface RemotesOptions extends RemoteExitOptions {
  readonly random: Random
  readonly connectMs: () => number
}

export interface Remotes {
  handle(stream: LinkStream, context: StreamContext): void
  open(options: Omit<RemoteEntryOptions, 'token' | 'clock' | 'connectMs'>, wait: boolean, signal: AbortSignal): Promise<RemoteEntry>
  list(): readonly ServedStatus[]
  stop(): void
  close(): Promise<void>
}

/** Both sides of remote forwards, behind the one protocol name. */
export function createRemotes(options: RemotesOptions): Remotes {
  const { clock, random, connectMs } = options
  const exit = createRemoteExit(options)
  const asked = new Map<string, { readonly peer: string; readonly entry: RemoteEntry }>()

  function handle(stream: LinkStream, context: StreamContext): void {
    receiveRequest(stream, clock, { take: takeListenRequest, maxBytes: MAX_LISTEN_BYTES }, (request, rest) => {
      if (request.kind === 'listen') {
        void exit.listen(stream, context, request)
        return
      }
      // Only the peer that was asked to listen may bring connections, and only for what it was asked.
      const known = asked.get(toHex(request.token))
      if (known?.peer === context.peer) known.entry.accepted(stream, rest)
      else stream.reset(new KithError('FORWARD_DENIED').number)
    })
  }

  return {
    handle,
    async open(base, wait, signal) {
      const token = random.bytes(TOKEN_BYTES)
      const entry = await openRemote({ ...base, token, clock, connectMs }, wait, signal)
      const key = toHex(token)
      asked.set(key, { peer: base.peer, entry })
      return {
        get address() {
          return entry.address
        },
        get listening() {
          return entry.listening
        },
        accepted: entry.accepted,
        stop() {
          asked.delete(key)
          entry.stop()
        },
      }
    },
    list: exit.list,
    stop: exit.stop,
    close: exit.close,
  }
}
