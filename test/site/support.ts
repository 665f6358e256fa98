import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { createSite, type SiteOptions } from '../../src/site/site.ts'
import { FrontPool } from '../../src/transport/front/pool.ts'
import type { TlsCertificate } from '../../src/transport/front/types.ts'
import type { Front } from '../../src/transport/front.ts'

export function temporaryFolder(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-site-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A certificate for `localhost` and 127.0.0.1, made by openssl. */
export async function siteCertificate(folder: string): Promise<TlsCertificate & { readonly keyFile: string; readonly certFile: string }> {
  const [keyFile, certFile] = [join(folder, 'site.key'), join(folder, 'site.crt')]
  const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '7', '-subj', '/CN=localhost']
  execFileSync('openssl', ['req', ...options, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', keyFile, '-out', certFile], {
    stdio: 'ignore',
  })
  return { keyFile, certFile, key: await readFile(keyFile), cert: await readFile(certFile) }
}

/** A folder with pages of several kinds, all of one date. */
export async function sitePages(root: string): Promise<string> {
  const folder = join(root, 'pages')
  await mkdir(join(folder, 'docs'), { recursive: true })
  await mkdir(join(folder, 'empty'))
  await mkdir(join(folder, '.hidden'))
  const files: readonly (readonly [string, string | Buffer])[] = [
    ['index.html', '<h1>It works</h1>\n'],
    ['page.txt', 'A page of text, long enough to be asked for in parts.\n'],
    ['docs/index.html', 'docs\n'],
    ['empty.bin', ''],
    ['.hidden/note', 'hidden\n'],
    ['with space.svg', '<svg/>'],
    ['large.bin', Buffer.alloc(300_000, 'kith')],
  ]
  for (const [name, content] of files) {
    await writeFile(join(folder, name), content)
    await utimes(join(folder, name), 1_700_000_000, 1_700_000_000)
  }
  await writeFile(join(root, 'secret.txt'), 'not of the site\n')
  await symlink(join(root, 'secret.txt'), join(folder, 'escape.txt'))
  await symlink(root, join(folder, 'up'))
  await symlink(join(folder, 'page.txt'), join(folder, 'alias.txt'))
  return folder
}

export interface OpenSite {
  readonly front: Front
  readonly pool: FrontPool
  readonly port: number
}

/** A front door with a site behind it. */
export async function openSite(
  t: Pick<TestContext, 'after'>,
  certificate: TlsCertificate,
  options: Partial<SiteOptions> & { readonly clock?: Clock; readonly firstBytesMs?: number } = {},
): Promise<OpenSite> {
  const { clock = systemClock, firstBytesMs = 60_000, ...rest } = options
  const handle = createSite({ clock, ...rest })
  const pool = new FrontPool({ clock, firstBytesMs, site: { certificate: () => certificate, handle } })
  const { front, release } = await pool.at({ host: '127.0.0.1', port: 0 })
  front.openSite()
  t.after(() => release())
  return { front, pool, port: front.address.port }
}

export interface Exchange {
  /** Sent one after the other, a turn of the loop apart. */
  readonly pieces: readonly (string | Buffer)[]
  readonly plain?: boolean
  /** Ends our half behind them. */
  readonly end?: boolean
}

/** What a server says to raw bytes until it ends the connection, and how it ended. */
export function converseRaw(
  port: number,
  { pieces, plain = false, end = false }: Exchange,
  limitMs = 15_000,
): Promise<{ bytes: Buffer; ended: 'end' | 'reset' | 'open' }> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    let ended: 'end' | 'reset' | 'open' = 'open'
    const socket: Socket = plain
      ? connectTcp({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
      : connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, servername: 'localhost', ...{ allowHalfOpen: true } })
    const finish = (): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ bytes: Buffer.concat(parts), ended })
    }
    const timer = setTimeout(finish, limitMs)
    socket.on('data', (chunk: Buffer) => parts.push(chunk))
    socket.on('error', () => {
      ended = 'reset'
    })
    socket.on('end', () => {
      ended = 'end'
      socket.end()
    })
    socket.on('close', () => {
      if (ended === 'open') ended = 'end'
      finish()
    })
    socket.once(plain ? 'connect' : 'secureConnect', async () => {
      for (const piece of pieces) {
        if (socket.destroyed || socket.writableEnded) break
        socket.write(piece)
        await new Promise(setImmediate)
      }
      if (end) socket.end()
    })
  })
}
