import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { blobFingerprint, keyBlob } from '../../access/ssh-wire.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { readNamedFile } from '../../identity/private-file.ts'
import { connectSsh } from '../../ssh/client/connect.ts'
import type { Credential } from '../../ssh/client/credential.ts'
import type { HostTrust } from '../../ssh/client/host.ts'
import { KnownHosts } from '../../ssh/client/known-hosts.ts'
import { StandingConnection } from '../../ssh/client/standing.ts'
import { parseSshUrl } from '../../ssh/client/url.ts'
import { parseUserKey } from '../../ssh/client/user-key.ts'
import type { ProxyRoute } from '../../transport/proxy.ts'
import type { FarSide } from '../../tunnel/far-entry.ts'
import { formatTarget, isLoopback, socketPath } from '../../tunnel/target.ts'
import { SSH_USER } from '../../vault/paths.ts'
import { DEFAULT_VAULT } from '../vault/files.ts'
import type { VaultService } from '../vault/service.ts'

/** Whether a far side is written as an SSH server, which no peer is. */
export function isSshServer(text: string): boolean {
  return text.startsWith('ssh://')
}

/** How a server is known, and by which key this node logs in there. */
export interface SshServerOptions {
  /** `ssh://USER@HOST[:PORT]`. */
  readonly server: string
  /** Absolute path. Default `~/.ssh/known_hosts`; none when a fingerprint is given. */
  readonly knownHosts?: string | undefined
  /** `SHA256:...` of the host key. */
  readonly hostKey?: string | undefined
  /** Absolute path of an Ed25519 key; beside it `FILE-cert.pub`. Default: the node's own, out of the vault. */
  readonly keyFile?: string | undefined
}

export interface SshFarOptions {
  readonly vaults: Pick<VaultService, 'opened' | 'unlocked'>
  readonly proxies: ProxyRoute
  readonly clock: Clock
}

/** The public half of the key by which this node logs in elsewhere. */
export interface SshUserKeyView {
  /** A line for `authorized_keys`. */
  readonly authorized_keys: string
  readonly fingerprint: string
}

const MAX_KNOWN_HOSTS = 4 * 1_048_576
const MAX_KEY_FILE = 16_384
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/

/**
 * The far side of a forward that ends at an ordinary SSH server. Files and the vault are asked at each login, so that what changed in them counts.
 * @throws KithError `ADDRESS_INVALID`, `USAGE`.
 */
export function sshFar(server: SshServerOptions, { vaults, proxies, clock }: SshFarOptions): FarSide {
  const { user, host, port } = parseSshUrl(server.server)
  if (server.hostKey !== undefined && !FINGERPRINT.test(server.hostKey))
    throw new KithError('USAGE', 'The fingerprint of a host key is written SHA256: and 43 letters, as ssh-keygen -lf prints it.', {
      next: `ssh-keyscan -p ${port} ${host} | ssh-keygen -lf -`,
    })
  const locked = (): KithError | undefined => (server.keyFile === undefined && !vaults.unlocked.includes(DEFAULT_VAULT) ? vaultLocked() : undefined)
  const standing = new StandingConnection({
    clock,
    prepare() {
      const reason = locked()
      if (reason !== undefined) throw reason
    },
    async connect(signal) {
      const trust = await trustOf(server)
      const credential = await credentialOf(server, vaults)
      try {
        return await connectSsh({ ...trust, url: server.server, credentials: [credential], proxies: proxies.for(host), signal, clock })
      } catch (error) {
        throw explain(error, server)
      } finally {
        credential.signer.close()
      }
    },
  })
  return {
    name: `ssh://${user}@${formatTarget({ host, port })}`,
    here: isLoopback(host),
    check: async (signal) => void (await standing.ready(signal)),
    waiting: () => (standing.connected ? undefined : locked()),
    open: (target) =>
      standing.stream((connection) => {
        const path = socketPath(target)
        return path === undefined ? connection.open(target.host, target.port) : connection.openSocket(path)
      }),
    close: () => standing.close(),
  }
}

/** @throws KithError `VAULT_LOCKED`. */
export async function sshUserKey(vaults: Pick<VaultService, 'opened'>): Promise<SshUserKeyView> {
  const signer = await ownSigner(vaults)
  const blob = keyBlob(signer.publicKey)
  signer.close()
  return { authorized_keys: `ssh-ed25519 ${Buffer.from(blob).toString('base64')} kith`, fingerprint: blobFingerprint(blob) }
}

function vaultLocked(): KithError {
  return new KithError('VAULT_LOCKED', 'The key by which this node logs in is in the vault, which is locked.', {
    details: { vault: DEFAULT_VAULT },
    next: 'kith vault unlock',
  })
}

async function ownSigner(vaults: Pick<VaultService, 'opened'>): Promise<Credential['signer']> {
  return (await vaults.opened(DEFAULT_VAULT)).signer(SSH_USER, { who: 'ssh' })
}

async function trustOf({ knownHosts, hostKey }: SshServerOptions): Promise<HostTrust> {
  const pinned = hostKey === undefined ? {} : { fingerprint: hostKey }
  if (hostKey !== undefined && knownHosts === undefined) return pinned
  const text = await textOf(knownHosts ?? join(homedir(), '.ssh', 'known_hosts'), MAX_KNOWN_HOSTS).catch((cause) => {
    // Somebody who never used SSH has no such file and knows no server; a file that was named has to be there.
    if (knownHosts === undefined && (cause as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw unreadable('known_hosts file', knownHosts ?? '~/.ssh/known_hosts', cause)
  })
  return { ...pinned, knownHosts: new KnownHosts(text) }
}

async function credentialOf({ keyFile }: SshServerOptions, vaults: Pick<VaultService, 'opened'>): Promise<Credential> {
  if (keyFile === undefined) return { signer: await ownSigner(vaults) }
  let text: string
  try {
    if (((await stat(keyFile)).mode & 0o077) !== 0)
      throw new KithError('SSH_KEY_INVALID', `Others on this machine can read the key ${keyFile}.`, { next: `chmod 600 ${keyFile}` })
    text = await textOf(keyFile, MAX_KEY_FILE)
  } catch (cause) {
    throw isKithError(cause) ? cause : unreadable('key', keyFile, cause)
  }
  const certificate = await textOf(`${keyFile}-cert.pub`, MAX_KEY_FILE).catch(() => undefined)
  const signer = parseUserKey(text)
  const base64 = certificate?.split(' ')[1]
  return base64 === undefined ? { signer } : { signer, certificate: new Uint8Array(Buffer.from(base64, 'base64')) }
}

async function textOf(path: string, most: number): Promise<string> {
  const found = await readNamedFile(path, most)
  if (found.kind === 'other') throw new KithError('SSH_FORMAT', `${path} is not a file.`)
  if (found.kind === 'too-long') throw new KithError('SSH_FORMAT', `${path} is larger than it may be (${most} bytes).`)
  return found.bytes.toString('utf8')
}

function unreadable(what: string, path: string, cause: unknown): KithError {
  return isKithError(cause) ? cause : new KithError('SSH_KEY_INVALID', `The ${what} cannot be read: ${path}.`, { details: { file: path }, cause })
}

/** What a person does next is known here, where it is known which key was shown. */
function explain(error: unknown, { keyFile }: SshServerOptions): unknown {
  if (!isKithError(error, 'SSH_LOGIN_REFUSED')) return error
  const next = keyFile === undefined ? 'put the line of kith ssh key into authorized_keys of the server' : `ssh-keygen -lf ${keyFile}`
  return new KithError('SSH_LOGIN_REFUSED', undefined, { next, cause: error })
}
