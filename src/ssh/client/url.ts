import { KithError } from '../../core/errors.ts'
import { isTarget } from '../../tunnel/target.ts'
import { isUserName } from '../user-name.ts'

export interface SshUrl {
  readonly user: string
  /** Lower-case name, or an address without brackets. */
  readonly host: string
  readonly port: number
}

const FORM = /^ssh:\/\/([^@/?#:]+)@(?:\[([0-9a-fA-F:.]+)\]|([^:@/?#[\]]+))(?::(\d{1,5}))?\/?$/

/** Reads `ssh://user@host[:port]`. A password in it is refused. @throws KithError `ADDRESS_INVALID`. */
export function parseSshUrl(text: string): SshUrl {
  const [, user = '', six, name, port] = FORM.exec(text) ?? []
  const url = { user, host: (six ?? name ?? '').toLowerCase(), port: Number(port ?? 22) }
  if (isUserName(user) && isTarget(url)) return url
  throw new KithError('ADDRESS_INVALID', 'An SSH server is written ssh://user@host or ssh://user@host:port.')
}
