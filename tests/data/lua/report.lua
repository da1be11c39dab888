-- Shows what a case returned, as one line of printable text that is the same in every interpreter.
local hidden = { ["function"] = true, userdata = true, thread = true }
local function quoted(text)
  return '"' .. text:gsub('[%c\127-\255"\\]', function(c) return string.format("\\%03d", c:byte()) end) .. '"'
end
local function shown(value, depth)
  local kind = type(value)
  if kind == "string" then
    return #value <= 400 and quoted(value) or quoted(value:sub(1, 80)) .. "..#" .. #value
  elseif kind == "number" then
    return value ~= value and "nan" or string.format("%.17g", value)
  elseif hidden[kind] then
    return kind
  elseif kind ~= "table" then
    return tostring(value)
  elseif depth > 8 then
    return "{..}"
  end
  local pairs_shown, count = {}, 0
  for k, v in pairs(value) do
    count = count + 1
    if count > 200 then break end
    pairs_shown[count] = "[" .. shown(k, depth + 1) .. "]=" .. shown(v, depth + 1)
  end
  if count > 200 then return "{#" .. #value .. "}" end
  table.sort(pairs_shown)
  return "{" .. table.concat(pairs_shown, ",") .. "}"
end
local function report(ok, count, results)
  if not ok then
    local text = type(count) == "table" and count.err or count
    return "error " .. (type(text) == "string" and text or type(text))
  end
  if results == nil then return "ok " .. shown(count, 0) end
  local texts = {}
  for i = 1, count do texts[i] = i <= 40 and shown(results[i], 0) or nil end
  return "ok" .. (count > 40 and "#" .. count or "") .. " " .. table.concat(texts, " ", 1, math.min(count, 40))
end
return report(pcall(case))
