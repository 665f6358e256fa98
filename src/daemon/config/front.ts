import { isIP } from 'node:net'
import { z } from 'zod'
import { splitHostPort } from './acme.ts'

export const frontListenSchema: z.ZodType<string> = z.string('expected ADDRESS:PORT').refine((text) => {
  if (text === '') return true
  const place = splitHostPort(text)
  return isIP(place.host) !== 0 && place.port <= 65_535
}, 'expected ADDRESS:PORT such as "0.0.0.0:443" or "[::]:443", or nothing')

export const serverNameSchema: z.ZodType<string> = z
  .string('expected what the header Server says')
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/ ()+-]{0,63}$/, 'expected what the header Server says, such as "nginx/1.22.1"')
