import { isKithError } from '../../core/errors.ts'
import { loadTokenNotes } from '../../identity/hardware/notes.ts'
import { isSealed, loadSealed } from '../../identity/hardware/sealed.ts'
import { Tokens } from '../../identity/hardware/tokens.ts'
import { changedPcrs, SEAL_AGAIN } from '../../identity/hardware/tpm.ts'
import { homePaths, readPrivateFile } from '../../identity/home.ts'
import { bad, type Check, type DoctorCheck, fine } from './types.ts'

/** Tokens that hold keys of this identity: the package, the module, the token itself. No PIN is given, so no try is spent. */
export const checkHardware: Check = async ({ home, config }) => {
  const notes = await loadTokenNotes(home)
  if (notes.length === 0) return fine('hardware', 'the identity’s key is in its key file')
  const tokens = new Tokens({ environment: {}, module: config['hardware.module'] || undefined })
  return notes.map(({ uri }): DoctorCheck => {
    try {
      const { label, manufacturer } = tokens.look(uri)
      return fine('hardware', `the token ${label} (${manufacturer}) is there, for ${uri}`)
    } catch (error) {
      return bad(
        'hardware',
        `${error instanceof Error ? error.message : 'unknown'}: ${uri}`,
        (isKithError(error) ? error.next : undefined) ?? 'kith id hardware show',
      )
    }
  })
}

/** What the machine keeps to open the keys by itself, and whether it would still do so. */
export const checkSeal: Check = async ({ home }) => {
  const id = await readPrivateFile(homePaths(home).id, 64)
  const name = id === undefined ? undefined : { id: Buffer.from(id).toString('latin1').trim() }
  if (name === undefined || !/^[0-9a-f]{32}$/.test(name.id) || !isSealed(name, process.env)) return fine('seal', 'no passphrase is sealed on this machine')
  try {
    const sealed = await loadSealed(name, process.env)
    if (sealed?.tpm === undefined) return fine('seal', 'the passphrase is in the keyring of the session; a node outside of it asks')
    const changed = await changedPcrs(sealed.tpm, process.env)
    if (changed.length === 0) return fine('seal', `the passphrase is sealed by the TPM, for PCR ${sealed.tpm.pcrs.join(', ')} as they are now`)
    return bad('seal', `PCR ${changed.join(', ')} changed since the passphrase was sealed: the TPM does not give it away`, SEAL_AGAIN)
  } catch (error) {
    return bad('seal', error instanceof Error ? error.message : 'unknown', (isKithError(error) ? error.next : undefined) ?? SEAL_AGAIN)
  }
}
