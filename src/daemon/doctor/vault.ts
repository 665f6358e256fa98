import { keyFileIntact } from '../../identity/keystore-file.ts'
import { listVaultFiles, vaultFile } from '../vault/files.ts'
import { bad, type Check, type DoctorCheck, fine } from './types.ts'

/** The files of the vaults beside the identity's own: whole, as their checksums say. No passphrase is asked. */
export const checkVaults: Check = async ({ home }) => {
  const names = await listVaultFiles(home)
  const findings: DoctorCheck[] = []
  for (const name of names) {
    if ((await keyFileIntact(vaultFile(home, name))) === false)
      findings.push(
        bad('vaults', `the file of the vault ${name} is damaged`, `restore it from a backup, or move it away and kith vault unlock ${name} --restore`),
      )
  }
  if (findings.length > 0) return findings
  return fine('vaults', names.length === 0 ? 'the one of the recovery phrase' : `the one of the recovery phrase, and ${names.join(', ')}, whole`)
}
