import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { parseIdentifier } from '../../src/site/acme/identifiers.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { freePort } from './ports.ts'

/** Why pebble cannot be used here; undefined when it can. */
export function pebbleMissing(): string | undefined {
  try {
    for (const program of ['pebble', 'pebble-challtestsrv']) execFileSync('which', [program])
    return undefined
  } catch {
    return 'pebble or pebble-challtestsrv is not installed'
  }
}

export interface Pebble {
  readonly directory: string
  /** PEM of what signed its HTTPS certificate. */
  readonly ca: string
  /** Where it asks TLS-ALPN-01 and HTTP-01 challenges, on 127.0.0.1. */
  readonly tlsPort: number
  readonly httpPort: number
  /** How many certificates it has issued, by its log. */
  issued(): number
}

/** Waits for a line of a program. */
async function says(child: ChildProcess, pattern: RegExp, log: () => string): Promise<void> {
  if (pattern.test(log())) return
  const stop = AbortSignal.timeout(20_000)
  for (;;) {
    await Promise.race([
      once(child.stdout as NodeJS.ReadableStream & NodeJS.EventEmitter, 'data', { signal: stop }),
      once(child.stderr as NodeJS.ReadableStream & NodeJS.EventEmitter, 'data', { signal: stop }),
    ])
    if (pattern.test(log())) return
  }
}

/** Let's Encrypt's test server with its own resolver, which says 127.0.0.1 to every name. Refuses a fifth of the nonces. */
export async function startPebble(t: TestContext, { validitySeconds = 86_400 }: { readonly validitySeconds?: number } = {}): Promise<Pebble> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-pebble-'))
  const children: ChildProcess[] = []
  t.after(async () => {
    for (const child of children) {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  })
  const [api, management, dns, dnsManagement, tlsPort, httpPort] = (await Promise.all([1, 2, 3, 4, 5, 6].map(freePort))) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const key = makeKey()
  const identifiers = ['127.0.0.1'].map(parseIdentifier)
  const ca = makeSelfSigned({ identifiers, key, notBefore: Date.now() - 3_600_000, notAfter: Date.now() + 86_400_000, random: systemRandom })
  await writeFile(join(folder, 'tls.pem'), ca)
  await writeFile(join(folder, 'tls.key'), keyPem(key))
  const pebble = {
    listenAddress: `127.0.0.1:${api}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: join(folder, 'tls.pem'),
    privateKey: join(folder, 'tls.key'),
    httpPort,
    tlsPort,
    certificateValidityPeriod: validitySeconds,
  }
  await writeFile(join(folder, 'pebble.json'), JSON.stringify({ pebble }))
  let log = ''
  const run = (program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        log += chunk.toString('latin1')
      })
    }
    children.push(child)
    return child
  }
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', '', '-defaultIPv4', '127.0.0.1']
  const resolver = run('pebble-challtestsrv', ['-management', `127.0.0.1:${dnsManagement}`, '-dns01', `127.0.0.1:${dns}`, ...off])
  await says(resolver, /Starting management server/, () => log)
  const server = run('pebble', ['-config', join(folder, 'pebble.json'), '-dnsserver', `127.0.0.1:${dns}`], {
    PEBBLE_VA_NOSLEEP: '1',
    PEBBLE_WFE_NONCEREJECT: '20',
  })
  await says(server, /ACME directory available/, () => log)
  return { directory: `https://127.0.0.1:${api}/dir`, ca, tlsPort, httpPort, issued: () => log.split('Issued certificate').length - 1 }
}
