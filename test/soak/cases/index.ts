import type { Case } from '../case.ts'
import { ENTRY_CASES } from './entries.ts'
import { LINK_CASES } from './links.ts'
import { PROTOCOL_CASES } from './protocols.ts'
import { QUESTION_CASES } from './questions.ts'
import { TRUST_CASES } from './trust.ts'

export const CASES: readonly Case[] = [...ENTRY_CASES, ...QUESTION_CASES, ...PROTOCOL_CASES, ...TRUST_CASES, ...LINK_CASES]
