import type { Setup } from '../support.ts'
import { memorySetup } from './memory.ts'

export const setup: Setup = memorySetup({ secure: true })
