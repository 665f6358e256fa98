// Run by memory.test.ts: makes or opens a keystore as a node does, then stands still while its memory is searched. It is never told what is searched for.
import { systemRandom } from '../../src/core/random.ts'
import { openHome } from '../../src/identity/home.ts'
import { createKeystore, openDevice, openIdentity } from '../../src/identity/keystore.ts'
import { readPassphraseFile } from '../../src/identity/passphrase.ts'
import { parsePhrase, phraseToSeed } from '../../src/vault/bip39.ts'
import { deriveIdentitySeeds } from '../../src/vault/identity-seeds.ts'

const [mode, path, passphraseFile, phraseFile] = process.argv.slice(2) as [string, string, string, string]
const passphrase = readPassphraseFile(passphraseFile)
const options = { passphrase, random: systemRandom, workFactor: 10 }
const home = await openHome(path)

if (mode === 'init') {
  const typed = readPassphraseFile(phraseFile)
  const phrase = parsePhrase(typed)
  typed.wipe()
  const seed = phraseToSeed(phrase)
  const identity = { seeds: deriveIdentitySeeds(seed, 0), next: deriveIdentitySeeds(seed, 1), phrase }
  seed.wipe()
  const keystore = await createKeystore(home, { ...options, identity })
  await keystore.close()
}
const device = await openDevice(home, options)
const identity = await openIdentity(home, options)
identity.sign(Buffer.from('\x0eicn/testing/v1'))
identity.phrase()?.wipe()
identity.close()
passphrase.wipe()
device.linkSigner.sign(Buffer.from('\x0eicn/testing/v1'))

let planted: Buffer | undefined
process.on('message', (message: string) => {
  if (message === 'plant') {
    // The child does not know the phrase either: it reads it back into an ordinary buffer.
    planted = Buffer.from(readPassphraseFile(phraseFile).use((bytes) => Buffer.from(bytes)))
  } else if (message === 'close') device.close()
  ;(globalThis as { gc?: () => void }).gc?.()
  process.send?.(`${message} ${planted?.length ?? 0}`)
})
process.on('disconnect', () => process.exit())
// The last job of scrypt clears its copy of the passphrase after its callback, in which this still runs.
await new Promise((resolve) => setImmediate(resolve))
;(globalThis as { gc?: () => void }).gc?.()
process.send?.('ready')
