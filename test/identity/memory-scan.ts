import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

/**
 * Looks for secrets in the memory of another process, the way someone who has seized the machine would.
 * Mappings that are kept out of core dumps (`dd` in VmFlags) are libsodium's guarded pages, where secrets belong; all others are searched, those without
 * any access included, as long as the system holds pages for them.
 */
export interface Found {
  readonly name: string
  readonly address: number
  readonly mapping: string
}

interface Mapping {
  readonly start: number
  readonly end: number
  readonly name: string
}

const CHUNK = 8 * 1024 * 1024
const MAX_MAPPING = 4 * 1024 ** 3

export function scanMemory(pid: number, needles: Readonly<Record<string, Uint8Array>>): Found[] {
  const overlap = Math.max(...Object.values(needles).map((needle) => needle.length)) - 1
  const buffer = Buffer.alloc(CHUNK + overlap)
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const found: Found[] = []
  try {
    for (const mapping of ordinaryMappings(pid)) {
      for (let at = mapping.start; at < mapping.end; at += CHUNK) {
        const length = read(memory, buffer, Math.min(CHUNK + overlap, mapping.end - at), at)
        const bytes = buffer.subarray(0, length)
        for (const [name, needle] of Object.entries(needles)) {
          for (let hit = bytes.indexOf(needle); hit >= 0 && hit < CHUNK; hit = bytes.indexOf(needle, hit + 1)) {
            found.push({ name, address: at + hit, mapping: mapping.name })
          }
        }
      }
    }
  } finally {
    closeSync(memory)
    buffer.fill(0)
  }
  return found
}

/** A page that cannot be read ends the chunk: what lies behind it in this chunk is not there either. */
function read(memory: number, buffer: Buffer, wanted: number, at: number): number {
  let length = 0
  while (length < wanted) {
    try {
      const got = readSync(memory, buffer, length, wanted - length, at + length)
      if (got === 0) break
      length += got
    } catch {
      break
    }
  }
  return length
}

function ordinaryMappings(pid: number): Mapping[] {
  const mappings: Mapping[] = []
  let current: Mapping | undefined
  let resident = 0
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)$/.exec(line)
    if (head !== null) {
      current = { start: Number.parseInt(head[1] as string, 16), end: Number.parseInt(head[2] as string, 16), name: `${head[3]} ${head[4]}` }
      resident = 0
      continue
    }
    const amount = /^(?:Rss|Swap): +(\d+) kB$/.exec(line)
    if (amount !== null) resident += Number(amount[1])
    if (current === undefined || !line.startsWith('VmFlags:')) continue
    const guarded = / dd( |$)/.test(line)
    const special = /\[(vvar|vsyscall|vvar_vclock)\]/.test(current.name)
    if (!guarded && !special && resident > 0 && current.end - current.start <= MAX_MAPPING) mappings.push(current)
  }
  return mappings
}
