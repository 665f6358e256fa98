/** Preloaded into every program of a guide: wall clocks go ahead by as many ms as CALENDAR_FILE says. Durations and timers stay what they are. */
import { readFileSync } from 'node:fs'

const file = process.env.CALENDAR_FILE
const now = Date.now.bind(Date)
let ahead = 0
const read = () => {
  try {
    ahead = Number(readFileSync(file, 'utf8')) || 0
  } catch {
    ahead = 0
  }
}
if (file !== undefined) {
  read()
  setInterval(read, 100).unref()
  Date.now = () => now() + ahead
}
