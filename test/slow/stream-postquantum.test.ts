import test from 'node:test'
import { flipStep } from '../stream/link-preface.ts'

test('man in the middle, every byte of the post-quantum step flipped, is noticed', () => flipStep(1))
