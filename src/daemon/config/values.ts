import { isIP } from 'node:net'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { formatDuration, parseDuration } from './duration.ts'

/** Kinds of values that settings of several sections have. */
export const flag: z.ZodType<boolean> = z.boolean('expected true or false')

export function whole(min: number, max: number): z.ZodType<number> {
  const message = `expected a whole number from ${min} to ${max}`
  return z.int(message).min(min, message).max(max, message)
}

/** Milliseconds, from a text such as "10s". */
export function duration(min: number, max: number): z.ZodType<number> {
  return z
    .string('expected a duration such as "10s"')
    .transform((text, context) => {
      const ms = parseDuration(text)
      if (ms !== undefined) return ms
      context.addIssue({ code: 'custom', message: 'expected a duration such as "10s" or "5m"' })
      return z.NEVER
    })
    .refine((ms) => ms >= min && ms <= max, `expected a duration from ${formatDuration(min)} to ${formatDuration(max)}`)
}

export function showDuration(ms: number): string {
  return JSON.stringify(formatDuration(ms))
}

/** An address and the length of its prefix, as it is written everywhere. */
export const network: z.ZodType<string> = z.string('expected a network such as "192.168.1.0/24"').refine((text) => {
  const match = /^([0-9a-fA-F.:]{2,45})\/(\d{1,3})$/.exec(text)
  const family = isIP(match?.[1] ?? '')
  return family !== 0 && Number(match?.[2]) <= (family === 6 ? 128 : 32)
}, 'expected a network such as "192.168.1.0/24"')

/** The whole path of a file, a folder or a socket, of `most` characters. */
export function wholePath(of: string, most = 4_096): z.ZodType<string> {
  return pathSchema(of, most, false)
}

/** The same, or nothing. */
export function wholePathOrNone(of: string, most = 4_096): z.ZodType<string> {
  return pathSchema(of, most, true)
}

function pathSchema(of: string, most: number, orNone: boolean): z.ZodType<string> {
  const expected = `expected the whole path of a ${of}`
  return z
    .string(expected)
    .max(most)
    .refine((text) => (text === '' && orNone) || (isAbsolute(text) && !text.includes('\0')), expected)
}
