import { DEFAULT_SSH_LIMITS } from '../../../ssh/limits.ts'
import { type SftpFolder, sftpSchema } from '../../ssh/config.ts'
import { frontListenSchema } from '../front.ts'
import { type Section, setting } from '../setting.ts'
import { flag, whole, wholePathOrNone } from '../values.ts'

/** The SSH door. */
export interface SshSettings {
  readonly 'ssh.listen': string
  readonly 'ssh.bind_public': boolean
  readonly 'ssh.host_certificate': string
  readonly 'ssh.sftp': readonly SftpFolder[]
  readonly 'ssh.max_connections': number
  readonly 'ssh.max_connections_per_address': number
  readonly 'ssh.max_attempts': number
  readonly 'ssh.max_failures_per_address': number
}

export const SSH: Section<SshSettings> = {
  'ssh.listen': setting({
    schema: frontListenSchema,
    fallback: '',
    dynamic: false,
    about: 'Where OpenSSH clients log in: ADDRESS:PORT such as "127.0.0.1:2222". Empty: nowhere.',
  }),
  'ssh.bind_public': setting({
    schema: flag,
    fallback: false,
    dynamic: false,
    about: 'Whether ssh.listen, and ports that clients ask for with -R, may be beyond loopback.',
  }),
  'ssh.host_certificate': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: false,
    about: 'Certificate of the SSH host key, as ssh-keygen -s CA -h makes it; empty: none.',
  }),
  'ssh.sftp': setting({
    schema: sftpSchema,
    fallback: [],
    dynamic: true,
    about: 'Folders for SFTP, a table each: [[ssh.sftp]] with name, path, and who may read and write.',
    show: (folders) => JSON.stringify(folders.map(({ name }) => name)),
  }),
  'ssh.max_connections': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.connections,
    dynamic: true,
    about: 'Connections at the SSH door at once; 0 has no limit.',
  }),
  'ssh.max_connections_per_address': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.connectionsPerAddress,
    dynamic: true,
    about: 'Of one address, or one /64 of IPv6; 0 has no limit.',
  }),
  'ssh.max_attempts': setting({
    schema: whole(0, 100),
    fallback: DEFAULT_SSH_LIMITS.attempts,
    dynamic: true,
    about: 'Refused keys after which an SSH connection ends; 0 has no limit.',
  }),
  'ssh.max_failures_per_address': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.failuresPerAddress,
    dynamic: true,
    about: 'Refused keys of one address within ten minutes, after which its connections are not taken; 0 has no limit.',
  }),
}
