/** 5 GiB out, read through and in again: the disk alone takes more than half a minute for that. */
import { test } from 'node:test'
import { backUpLarge } from '../backup/large.ts'

test('a home of 5 GiB, backed up, verified and restored, stays within 300 MiB of memory', { timeout: 900_000 }, (t) => backUpLarge(t, 5 * 2 ** 30))
