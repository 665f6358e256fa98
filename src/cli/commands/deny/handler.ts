import type { CommandHandler } from '../../spec.ts'
import { changeRule } from '../policy/rules.ts'

export const run: CommandHandler = (context, input) => changeRule(context, 'POST /v1/policy/deny', input)
