import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdirSync, openSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readAccessFiles } from '../../src/daemon/access/files.ts'
import type { Config } from '../../src/daemon/config/settings.ts'
import { secretReader } from '../../src/daemon/credentials/secret-file.ts'
import { readCertificateFiles, readRoot } from '../../src/daemon/services/certificate-files.ts'
import { readAuthorities } from '../../src/daemon/transports.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { hasCode } from '../transport/support.ts'

/** Whoever can put something where the configuration names a file, and whoever comes in while it is read. */

test('a pipe, a folder, a device, a link to itself or a file of a gibibyte where a file is named, refused and not waited for', {
  timeout: 10_000,
}, async (t) => {
  const home = temporaryDirectory(t)
  const place = (name: string): string => join(home, name)
  execFileSync('mkfifo', [place('pipe')])
  // A reader that waits for the pipe goes on when the test is over.
  t.after(() => {
    try {
      closeSync(openSync(place('pipe'), constants.O_WRONLY | constants.O_NONBLOCK))
    } catch {}
  })
  mkdirSync(place('folder'))
  symlinkSync(place('loop'), place('loop'))
  writeFileSync(place('huge'), '', { mode: 0o600 })
  truncateSync(place('huge'), 1 << 30)
  for (const file of [place('pipe'), place('folder'), '/dev/zero', place('loop'), place('huge')]) {
    const access = (keys: readonly string[], revocations: readonly string[]) => ({ 'access.authorized_keys': keys, 'access.revocations': revocations })
    await assert.rejects(readAccessFiles(access([file], [])), hasCode('ACCESS_INVALID'), file)
    await assert.rejects(readAccessFiles(access([], [file])), hasCode('ACCESS_INVALID'), file)
    const config = { 'certificate.file': file, 'certificate.key_file': file, 'acme.ca_file': file } as unknown as Config
    await assert.rejects(readCertificateFiles(config, 0), hasCode('CERTIFICATE_INVALID', 'FILE_MISSING'), file)
    await assert.rejects(readRoot(config), hasCode('CERTIFICATE_INVALID', 'FILE_MISSING'), file)
    await assert.rejects(readAuthorities(file), hasCode('FILE_MISSING'), file)
    assert.throws(() => secretReader({})({ file }), hasCode('CREDENTIAL_INVALID'), file)
  }
})
