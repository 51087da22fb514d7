// Compiles every .wgsl of a folder with Tint, Chrome's compiler, and prints its messages: check.mjs MODULES TEXTS.
// MODULES has `webgpu` in its node_modules. Neither a driver nor a GPU is needed. Exits with 1 where a text is refused.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [modules, texts] = process.argv.slice(2).map(path => resolve(path));
const { create, globals } = createRequire(join(modules, 'package.json'))('webgpu');
Object.assign(globalThis, globals);

// It has to outlive what it makes.
globalThis.gpu = create(['backend=null']);
const adapter = await globalThis.gpu.requestAdapter();
const device = await adapter.requestDevice({ requiredFeatures: ['subgroups'] });
setTimeout(() => {
    console.log('Tint has not finished after two minutes');
    process.exit(2);
}, 120_000);
let refused = 0;
const files = readdirSync(texts).filter(file => file.endsWith('.wgsl')).sort();
for (const file of files) {
    const code = readFileSync(join(texts, file), 'utf8');
    device.pushErrorScope('validation');
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
    const error = await device.popErrorScope();
    for (const { type, lineNum, message } of messages) {
        console.log(`${file}:${lineNum}: ${type}: ${message}\n    ${code.split('\n')[lineNum - 1].trim()}`);
    }
    refused += error !== null;
}
console.log(`${files.length} shaders, ${refused} refused`);
process.exit(refused > 0 ? 1 : 0);
