// Run by the memory tests: opens a vault, uses every kind of key and locks it, and stands still while its memory is searched. It is never told what is searched for.
import { systemClock } from '../../src/core/clock.ts'
import { readPassphraseFile } from '../../src/identity/passphrase.ts'
import { ETHEREUM, encryptionKeyPath, IDENTITY, SSH_HOST } from '../../src/vault/paths.ts'
import { createVault } from '../../src/vault/vault.ts'

const [phraseFile] = process.argv.slice(2) as [string]
const vault = createVault({ clock: systemClock })
const kept: unknown[] = []

/** Put together byte by byte: a string of it would stay in the heap. */
function plaintext(length: number): Buffer {
  const pieces = [Buffer.from('a plaintext'), Buffer.from(' that is '), Buffer.from('looked for ')]
  const text = Buffer.alloc(length)
  for (let at = 0, i = 0; at < length; at += (pieces[i++ % 3] as Buffer).length) (pieces[i % 3] as Buffer).copy(text, at)
  return text
}

const acts: Readonly<Record<string, () => Promise<void> | void>> = {
  async unlock() {
    const phrase = readPassphraseFile(phraseFile)
    await vault.unlock({ phrase })
    phrase.wipe()
  },
  derive() {
    for (const path of [IDENTITY, SSH_HOST, ETHEREUM]) kept.push(vault.derive(path))
    const signer = vault.signer(SSH_HOST)
    signer.sign(Buffer.from('text'))
    kept.push(signer)
    vault.sitePassword('example.org').wipe()
  },
  encrypt() {
    for (const length of [124, 1_240, 12_400, 310_000]) {
      const text = plaintext(length)
      const data = vault.encrypt(text)
      text.fill(0)
      vault.decryptSecret(vault.rotate(data, 3)).wipe()
    }
  },
  lock: () => vault.lock(),
  /** Puts the phrase and a key into ordinary memory. */
  async plant() {
    kept.push(readPassphraseFile(phraseFile).use((bytes) => Buffer.from(bytes)))
    await acts.unlock?.()
    kept.push(vault.derive(encryptionKeyPath(3)).privateKey.use((bytes) => Buffer.from(bytes)))
    vault.lock()
  },
}

process.on('message', (message: string) => {
  void Promise.resolve(acts[message]?.()).then(() => {
    // What was dropped in this turn is collected in the next.
    setImmediate(() => setImmediate(() => process.send?.(message)))
  })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
