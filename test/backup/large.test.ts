import { test } from 'node:test'
import { backUpLarge } from './large.ts'

test('a home of 1 GiB, backed up, verified and restored, stays within 300 MiB of memory', { timeout: 240_000 }, (t) => backUpLarge(t, 2 ** 30))
