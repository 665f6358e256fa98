import assert from 'node:assert/strict'
import { utf8 } from '../../../src/core/bytes.ts'
import { KnownHosts } from '../../../src/ssh/client/known-hosts.ts'
import { parseSshUrl } from '../../../src/ssh/client/url.ts'
import { parseUserKey } from '../../../src/ssh/client/user-key.ts'
import { parseExecLine } from '../../../src/ssh/exec-line.ts'
import { componentsOf, NotThere, Places } from '../../../src/ssh/sftp/places.ts'
import { SftpSession } from '../../../src/ssh/sftp/server.ts'
import { MalformedPacket } from '../../../src/ssh/sftp/wire.ts'
import { keyOfBlob, keyOfCertificate, sshString, verifySsh } from '../../../src/ssh/wire.ts'
import { userKey as makeKey } from '../../ssh/support.ts'
import type { FuzzTarget } from '../mutate.ts'

const text = (input: Uint8Array): string => Buffer.from(input).toString('utf8')
const KEY = Buffer.concat([sshString('ssh-ed25519'), sshString(new Uint8Array(32).fill(9))])
const PRIVATE_KEY = makeKey().privateKey
const LINE = `ssh-ed25519 ${KEY.toString('base64')}`

const knownHosts: FuzzTarget = {
  name: 'ssh-known-hosts',
  seeds: [
    utf8(`host.example,*.lan,!no.lan ${LINE}\n[::1]:2222 ${LINE} comment`),
    utf8(`@cert-authority * ${LINE}\n@revoked host ${LINE}`),
    utf8(`|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ${LINE}`),
  ],
  codes: [],
  run(input) {
    const known = new KnownHosts(text(input))
    const verdict = known.check('host.example', 22, KEY)
    known.authority('a.lan', 2222, KEY)
    assert.ok(known.types('host.example', 22).length <= input.length)
    return verdict
  },
}

const execLine: FuzzTarget = {
  name: 'ssh-exec-line',
  seeds: [utf8('call a/b {"x": 1}'), utf8('call /node/a/b -'), utf8('ops'), utf8('help')],
  codes: ['USAGE'],
  run(input) {
    const command = parseExecLine(text(input))
    if (command.kind === 'call') assert.match(command.path, /^\/?[A-Za-z0-9._:/-]+$/)
    return command.kind
  },
}

const sftpPath: FuzzTarget = {
  name: 'ssh-sftp-path',
  seeds: [utf8('/a/../../b'), utf8('../x'), utf8('.'), utf8(`/${'a/'.repeat(70)}`)],
  codes: [],
  run(input) {
    try {
      const parts = componentsOf(text(input), ['home'])
      assert.ok(parts.length <= 64 && parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/[/\0]/.test(part)))
      return String(parts.length)
    } catch (error) {
      assert.ok(error instanceof NotThere)
      return 'none'
    }
  },
}

const sftpPacket: FuzzTarget = {
  name: 'ssh-sftp-packet',
  seeds: [
    Uint8Array.of(16, 0, 0, 0, 1, 0, 0, 0, 1, 0x2e),
    Uint8Array.of(3, 0, 0, 0, 1, 0, 0, 0, 2, 0x2f, 0x61, 0, 0, 0, 1, 0, 0, 0, 0),
    Uint8Array.of(11, 0, 0, 0, 1, 0, 0, 0, 1, 0x2f),
    Uint8Array.of(12, 0, 0, 0, 1, 0, 0, 0, 1, 0x31),
    Uint8Array.of(200, 0, 0, 0, 1, 0, 0, 0, 24, ...utf8('posix-rename@openssh.com')),
  ],
  codes: [],
  async run(input) {
    const session = new SftpSession(new Places(() => []), { take: () => true, give: () => {} })
    await session.answer(Buffer.from([1, 0, 0, 0, 3]))
    try {
      const answer = await session.answer(Buffer.from(input))
      assert.equal(new DataView(answer.buffer, answer.byteOffset).getUint32(0), answer.length - 4)
      return String(answer[4])
    } catch (error) {
      assert.ok(error instanceof MalformedPacket)
      return 'malformed'
    } finally {
      await session.close()
    }
  },
}

const keys: FuzzTarget = {
  name: 'ssh-key-blob',
  seeds: [KEY, Buffer.concat([sshString('ssh-ed25519-cert-v01@openssh.com'), sshString('nonce'), sshString(new Uint8Array(32).fill(9))])],
  codes: [],
  run(input) {
    const key = keyOfBlob(input) ?? keyOfCertificate(input)
    if (key !== undefined) assert.equal(verifySsh(key, input, input), false)
    return key === undefined ? 'none' : 'key'
  },
}

const userKey: FuzzTarget = {
  name: 'ssh-user-key',
  seeds: [utf8(PRIVATE_KEY)],
  codes: ['SSH_KEY_INVALID'],
  run(input) {
    parseUserKey(text(input)).close()
  },
}

const url: FuzzTarget = {
  name: 'ssh-url',
  seeds: [utf8('ssh://alice@host.example:2222'), utf8('ssh://a@[::1]')],
  codes: ['ADDRESS_INVALID'],
  run(input) {
    const { port } = parseSshUrl(text(input))
    assert.ok(port >= 1 && port <= 65_535)
  },
}

export const sshTargets: readonly FuzzTarget[] = [knownHosts, execLine, sftpPath, sftpPacket, keys, userKey, url]
