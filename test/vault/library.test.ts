import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVault, ETHEREUM, parseEncryptedData, Secret, SSH_HOST, systemClock } from 'kith/vault'

test('vault as a library, used as its README shows, needs nothing else', async () => {
  const phrase = Secret.take(Buffer.from(`${'abandon '.repeat(11)}about`))
  const vault = createVault({ clock: systemClock, audit: () => {} })
  await vault.unlock({ phrase })
  assert.equal(vault.derive(ETHEREUM).publicKey?.length, 33)
  const host = vault.signer(SSH_HOST)
  assert.equal(host.sign(new Uint8Array([1])).length, 64)
  const data = parseEncryptedData(JSON.stringify(vault.encrypt(new Uint8Array([7, 8, 9]))))
  assert.deepEqual([...vault.decrypt(data)], [7, 8, 9])
  const secret = vault.decryptSecret(data)
  assert.equal(secret.length, 3)
  assert.equal(vault.sitePassword('example.org').length, 24)
  vault.lock()
  assert.equal(phrase.wiped, false)
})
