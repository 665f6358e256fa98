import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { KithError } from '../core/errors.ts'

/**
 * What belongs to a home and is kept outside it, so that no copy of the home carries it: `STATE/HOME-ID.NAME`.
 * @throws KithError `HOME_UNSAFE` for a name of a home that is none.
 */
export function statePath(homeId: string, name: 'passphrase' | 'sealed.json', environment: NodeJS.ProcessEnv): string {
  // A home may come from elsewhere: its name must not lead out of the directory.
  if (!/^[0-9a-f]{32}$/.test(homeId)) throw new KithError('HOME_UNSAFE', 'the name of this home is damaged', { next: 'remove the file named id in the home' })
  return join(stateDirectory(environment), `${homeId}.${name}`)
}

export function stateDirectory(environment: NodeJS.ProcessEnv): string {
  const state = environment.XDG_STATE_HOME
  if (state !== undefined && isAbsolute(state)) return join(state, 'kith')
  const local = environment.LOCALAPPDATA
  if (process.platform === 'win32' && local !== undefined) return join(local, 'kith', 'state')
  return join(homedir(), '.local', 'state', 'kith')
}
