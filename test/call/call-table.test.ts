import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CallTable, type Numbered } from '../../src/call/call-table.ts'
import { Deadlines, type Expiring } from '../../src/call/deadlines.ts'
import { manualClock } from '../../src/core/clock.ts'

interface Entry extends Numbered<Entry> {}

describe('table of calls', () => {
  it('finds what was added and not taken out, as a Map would', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(200)), { maxLength: 300 }), (steps) => {
        const table = new CallTable<Entry>()
        const model = new Map<number, Entry>()
        for (const [add, call] of steps) {
          const known = model.get(call)
          if (add && known === undefined) {
            const entry: Entry = { call, nextInSlot: undefined }
            model.set(call, entry)
            table.add(entry)
          } else if (!add && known !== undefined) {
            model.delete(call)
            assert.equal(table.delete(known), true)
            assert.equal(table.delete(known), false)
          }
          assert.equal(table.size, model.size)
        }
        for (let call = 0; call <= 200; call++) assert.equal(table.get(call), model.get(call))
        assert.deepEqual(
          table.all().map((entry) => entry.call),
          [...model.keys()].sort((a, b) => a - b),
        )
      }),
      { numRuns: 100 },
    )
  })
})

describe('deadlines', () => {
  it('each fires once at its time, unless it left; one timer serves them all', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ at: fc.nat(100), leaves: fc.boolean() }), { maxLength: 40 }), (given) => {
        const clock = manualClock()
        const deadlines = new Deadlines(clock)
        const fired: { at: number; time: number }[] = []
        const entries = given.map(({ at }) => {
          const entry: Expiring = {
            expiresAt: at,
            earlier: undefined,
            later: undefined,
            cancelled: () => undefined,
            expire: () => {
              deadlines.delete(entry)
              fired.push({ at, time: clock.monotonic() })
            },
          }
          deadlines.add(entry)
          return entry
        })
        for (const [i, { leaves }] of given.entries()) {
          if (!leaves) continue
          deadlines.delete(entries[i] as Expiring)
          deadlines.delete(entries[i] as Expiring)
        }
        assert.ok(clock.pending <= 1)
        clock.advance(200)
        assert.deepEqual(
          fired.map(({ at }) => at).sort((a, b) => a - b),
          given
            .filter(({ leaves }) => !leaves)
            .map(({ at }) => at)
            .sort((a, b) => a - b),
        )
        assert.ok(fired.every(({ at, time }) => time === at))
        assert.deepEqual(deadlines.all(), [])
      }),
      { numRuns: 100 },
    )
  })
})
