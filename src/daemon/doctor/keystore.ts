import { existsSync } from 'node:fs'
import { isDeviceOnly } from '../../identity/device-home.ts'
import { homePaths, readPrivateFile } from '../../identity/home.ts'
import { keyFileIntact } from '../../identity/keystore-file.ts'
import { statePassphrasePath } from '../../identity/passphrase.ts'
import { loadSummary } from '../identity/describe.ts'
import { bad, type Check, type DoctorCheck, fine } from './types.ts'

/** The key files that this machine has to have: there, whole; and how they are protected. No passphrase is asked. */
export const checkKeystore: Check = async ({ home }) => {
  const paths = homePaths(home)
  const deviceOnly = await isDeviceOnly({ paths })
  if (!deviceOnly && !existsSync(paths.identity)) return bad('keystore', `there is no identity in ${home}`, 'kith init')
  const findings: DoctorCheck[] = []
  for (const path of deviceOnly ? [paths.device] : [paths.identity, paths.device]) {
    if (!existsSync(path)) findings.push(bad('keystore', `${path} is missing; it is made anew when the identity is unlocked`, 'kith up'))
    else if ((await keyFileIntact(path)) === false)
      findings.push(bad('keystore', `${path} is damaged`, 'restore it from a backup, or kith init --restore in a new home'))
  }
  if (findings.length === 0) {
    const whole = deviceOnly ? 'device keys are whole, those of the identity are on another machine' : 'identity and device keys are whole'
    findings.push(fine('keystore', `${whole}, ${(await loadSummary(home))?.did ?? 'DID not noted yet'}`))
  }
  return [...findings, await passphraseMode(paths.id)]
}

async function passphraseMode(idFile: string): Promise<DoctorCheck> {
  const id = await readPrivateFile(idFile, 64)
  const stored = id === undefined ? undefined : statePassphrasePath(Buffer.from(id).toString('latin1').trim())
  if (stored === undefined || !existsSync(stored)) return fine('passphrase', 'the keys are protected by a passphrase (seal: where this machine keeps it)')
  return fine('passphrase', `none asked: a random one lies in ${stored}, so whoever uses this account can use the keys (kith id passphrase sets one)`)
}
