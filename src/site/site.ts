import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { FrontGuard } from '../transport/front/guard.ts'
import type { SiteHandler } from '../transport/front/types.ts'
import { type HostPort, plainHost } from '../transport/tcp/address.ts'
import { systemCode } from '../transport/tcp/connect.ts'
import { converse, type SiteTimes } from './conversation.ts'
import { DEFAULT_PAGE } from './default-page.ts'
import { folderPages, type Pages, singlePage } from './folder.ts'

/** As Debian 12 has it. */
const SERVER = 'nginx/1.22.1'
const TIMES: SiteTimes = { headMs: 60_000, idleMs: 75_000, sendMs: 60_000, lingerMs: 5_000 }

export interface SiteOptions {
  readonly clock: Clock
  /** Folder of the pages. Absent: one plain page. */
  readonly folder?: string
  /** What the header `Server` and the pages of errors say. Default `nginx/1.22.1`. */
  readonly server?: string
  readonly times?: Partial<SiteTimes>
  /** Answers `/.well-known/acme-challenge/TOKEN` (RFC 8555, 8.3) before the pages; undefined leaves it to them. */
  readonly challenge?: (token: string) => string | undefined
  /** Told of each answer's status: for counters. */
  readonly onAnswer?: (status: number) => void
}

/** A site of static pages that answers as nginx does: to be hung on a front door, and on a plain port of its own if wanted. */
export interface Site {
  readonly handle: SiteHandler
  /** Serves the same pages without TLS. @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
  listenPlain(target: HostPort): Promise<{ readonly port: number; close(): void }>
}

export function createSite(options: SiteOptions): Site {
  const { clock } = options
  const own = options.folder === undefined ? singlePage(DEFAULT_PAGE, clock.now()) : folderPages(options.folder)
  const pages = options.challenge === undefined ? own : withChallenges(own, options.challenge, clock)
  const parts = {
    pages,
    clock,
    server: options.server ?? SERVER,
    times: { ...TIMES, ...options.times },
    ...(options.onAnswer === undefined ? {} : { onAnswer: options.onAnswer }),
  }
  return {
    handle: (stream, arrival) => void converse(stream, { ...arrival, misplaced: !arrival.encrypted }, parts),
    listenPlain: async (target) => {
      const guard = new FrontGuard()
      const sockets = new Set<Socket>()
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        socket.on('error', () => {})
        const place = guard.admit(plainHost(socket.remoteAddress ?? ''))
        if (place === undefined) return void socket.destroy()
        sockets.add(socket)
        socket.on('close', () => {
          place.release()
          sockets.delete(socket)
        })
        const local = { localAddress: plainHost(socket.localAddress ?? ''), localPort: socket.localPort ?? 0 }
        void converse(socket, { ...local, encrypted: false, misplaced: false, upgrade: () => false }, parts)
      })
      await listening(server, target)
      const close = (): void => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      return { port: (server.address() as { port: number }).port, close }
    },
  }
}

const CHALLENGES = '/.well-known/acme-challenge/'

function withChallenges(pages: Pages, challenge: (token: string) => string | undefined, clock: Clock): Pages {
  return {
    find: (path) => {
      const text = path.toString('latin1')
      const answer = text.startsWith(CHALLENGES) ? challenge(text.slice(CHALLENGES.length)) : undefined
      return answer === undefined ? pages.find(path) : singlePage(answer, clock.now()).find(Buffer.from('/'))
    },
  }
}

function listening(server: Server, { host, port }: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      const reason = systemCode(error)
      reject(
        new KithError(reason === 'EADDRINUSE' ? 'ADDRESS_IN_USE' : 'ADDRESS_INVALID', undefined, {
          details: { address: `http://${host}:${port}`, reason },
          cause: error,
        }),
      )
    }
    server.once('error', failed)
    server.listen({ host, port }, () => {
      server.off('error', failed)
      server.on('error', () => {})
      resolve()
    })
  })
}
