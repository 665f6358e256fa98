import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSigner } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { describeHostKey, parseHostCertificate } from '../../src/ssh/host-key.ts'
import { keygen, realDoor, run, SSH_CLIENTS, workplace } from './ssh-support.ts'

for (const { name, command, hybrid, missing } of SSH_CLIENTS) {
  test(`OpenSSH (${name}), logs in with key and certificate, is refused otherwise, and warns of nothing`, { skip: missing }, async (context) => {
    const directory = await workplace(context)
    const at = (file: string): string => join(directory, file)
    for (const key of ['key', 'ca', 'certified', 'wrong', 'expired', 'revoked', 'forced', 'stranger'])
      await keygen('-t', 'ed25519', '-N', '', '-C', key, '-f', at(key))
    const sign = (key: string, ...args: readonly string[]): Promise<void> => keygen('-s', at('ca'), '-I', key, ...args, at(`${key}.pub`))
    await sign('certified', '-n', 'alice', '-V', '+1h', '-z', '1')
    await sign('wrong', '-n', 'bob', '-V', '+1h', '-z', '2')
    await sign('expired', '-n', 'alice', '-V', '20200101:20200102', '-z', '3')
    await sign('revoked', '-n', 'alice', '-V', '+1h', '-z', '4')
    await sign('forced', '-n', 'alice', '-V', '+1h', '-z', '5', '-O', 'force-command=true')
    const line = async (file: string): Promise<string> => (await readFile(at(file), 'utf8')).trim()
    const door = await realDoor(context, {
      directory,
      authorized: `${await line('key.pub')}\ncert-authority ${await line('ca.pub')}\n`,
      revoked: `${await line('revoked.pub')}\n`,
    })
    const attempt = (key: string, ...more: readonly string[]) =>
      run(command, ['-v', ...door.options(key, more), '-p', String(door.port), 'alice@127.0.0.1', 'help'])

    for (const key of ['key', 'certified']) {
      const { status, out, err } = await attempt(key)
      assert.equal(status, 0, err)
      assert.match(out, /^Commands: call/)
      assert.doesNotMatch(err, /warning|post-quantum|store now/i)
      if (name === '10.0') assert.match(err, /OpenSSH_10\.0/)
      if (hybrid) assert.match(err, /kex: algorithm: mlkem768x25519-sha256/)
      assert.match(err, /cipher: aes128-gcm@openssh.com/)
    }
    // The authority's own key logs in nowhere, and a user name that no certificate names neither.
    for (const key of ['wrong', 'expired', 'revoked', 'forced', 'stranger', 'ca']) {
      const { status, err } = await attempt(key)
      assert.equal(status, 255, key)
      assert.match(err, /Permission denied \(publickey\)/, key)
    }
    const passwords = await run(command, [
      ...door.options('stranger'),
      '-o',
      'PreferredAuthentications=password,keyboard-interactive',
      '-p',
      String(door.port),
      'alice@127.0.0.1',
      'help',
    ])
    assert.match(passwords.err, /Permission denied \(publickey\)/)
    // New keys in the middle of a session.
    const rekeyed = await attempt('key', '-o', 'RekeyLimit=1K')
    assert.equal(rekeyed.status, 0, rekeyed.err)
  })

  test(`OpenSSH (${name}), believes a host certificate by an authority it knows`, { skip: missing }, async (context) => {
    const directory = await workplace(context)
    const at = (file: string): string => join(directory, file)
    for (const key of ['key', 'ca']) await keygen('-t', 'ed25519', '-N', '', '-C', key, '-f', at(key))
    const hostKey = createSigner('service', Secret.take(new Uint8Array(32).fill(9)))
    await writeFile(at('host.pub'), `${describeHostKey(hostKey.publicKey, false).public_key}\n`)
    await keygen('-s', at('ca'), '-I', 'host', '-h', '-n', '127.0.0.1', '-V', '+1h', at('host.pub'))
    const hostCertificate = parseHostCertificate(await readFile(at('host-cert.pub'), 'utf8'), hostKey.publicKey)
    const door = await realDoor(context, { directory, authorized: await readFile(at('key.pub'), 'utf8'), hostKey, hostCertificate })
    await writeFile(at('known'), `@cert-authority * ${await readFile(at('ca.pub'), 'utf8')}`)
    const { status, err } = await run(command, [
      '-v',
      ...door.options('key').map((word) => (word.startsWith('UserKnownHostsFile=') ? `UserKnownHostsFile=${at('known')}` : word)),
      '-p',
      String(door.port),
      'alice@127.0.0.1',
      'help',
    ])
    assert.equal(status, 0, err)
    assert.match(err, /Host '.*' is known and matches the ED25519-CERT host certificate/)
  })
}
